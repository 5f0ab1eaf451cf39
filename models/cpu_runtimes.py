"""What computes restorers on a CPU without PyTorch: OpenVINO and ONNX Runtime."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.cards import CheckpointError, checked_digest, is_card, read_card, sha256
from models.deblurrer import WeightFacts
from models.device_use import computing

if TYPE_CHECKING:  # A converted network needs no PyTorch.
    from torch import Tensor

    from models.restorer import Restorer
    from models.torch_runtime import RestorerGraph

Images = NDArray[np.uint8]

QUANTIZED = ".int8.onnx"
"""What stands instead of the ending of weights in the name of their 8-bit network."""


_SECTION = "aerial_deblur"
_FACTS = ("halo_px", "stride", "smallest")


class CpuRuntime:
    """Restores pictures one at a time with what maps one to its levels and a sum of corrections.

    Raises ArithmeticError where that sum is NaN or infinite. (The ReLU of OpenVINO makes 0 of a
    NaN: only those behind the last one show there.)
    """

    def __init__(self, run: Callable[[Images], Sequence[NDArray[Any]]]) -> None:
        self._run = run

    def __call__(self, images: Images) -> Images:
        """Restore uint8 (n, h, w, 3)."""
        with computing("cpu", len(images)):
            return np.concatenate([self._restore(image[None]) for image in images])

    def _restore(self, image: Images) -> Images:
        levels, total = self._run(image)
        if not math.isfinite(float(total)):
            raise ArithmeticError("NaN or infinite")
        return levels


def open_cpu_runtime(
    weights: Path,
    digest: str,
    prepare: Callable[[], tuple["Restorer", WeightFacts]],
    backend: Literal["openvino", "onnxruntime"],
    dtype: Literal["float32", "bfloat16", "int8"],
) -> tuple[CpuRuntime, WeightFacts]:
    """Return what runs weights of a digest, and what is known of them.

    In int8 that is the network beside them. `prepare` loads their generator, with its norms folded:
    a network that OpenVINO has converted before does without it, and without PyTorch. Raises
    ModuleNotFoundError if the backend is not installed.
    """
    quantized = quantized_beside(weights, digest) if dtype == "int8" else None
    if backend == "onnxruntime":
        from models.onnx_runtime import OnnxRuntime, convert_module

        generator, info = prepare()
        runtime = OnnxRuntime(quantized or convert_module(*traceable(generator)))
        return CpuRuntime(runtime), info
    from models import converted
    from models.openvino_runtime import OpenVinoRuntime, read_model

    known = {"network": "restorer", "weights": digest}
    if quantized:
        known["int8"] = sha256(quantized)

    def convert() -> Any:  # noqa: ANN401 - an untyped package
        generator, info = prepare()
        if quantized:
            model = read_model(quantized)
        else:
            model = converted.convert_module(*traceable(generator))
        for name in _FACTS:
            model.set_rt_info(str(getattr(info, name)), [_SECTION, name])
        return model

    model = converted.converted(known, convert)
    facts = {name: _number(model.get_rt_info([_SECTION, name]).value) for name in _FACTS}
    return CpuRuntime(OpenVinoRuntime(model, dtype)), WeightFacts(weights, digest, **facts)


def _number(text: str) -> Any:  # noqa: ANN401 - None for a halo only
    return None if text == "None" else int(text)


def traceable(generator: "Restorer") -> tuple["RestorerGraph", "Tensor"]:
    """Return the graph of a restorer whose norms are folded, and an example of its input."""
    import torch

    from models.rewrite import rewrite
    from models.torch_runtime import RestorerGraph

    side = -(-max(generator.smallest, 2 * generator.stride) // generator.stride) * generator.stride
    graph = RestorerGraph(rewrite(generator)).eval().requires_grad_(False)
    return graph, torch.zeros((1, side, side, 3), dtype=torch.uint8)


def quantized_beside(weights: Path, digest: str) -> Path:
    """Return the 8-bit network beside weights of this digest.

    A FileNotFoundError says how it is made. CheckpointError if it is not the one of the weights'
    card, if that names one, or was made of other weights: its graph is named after their digest.
    """
    path = weights.with_suffix(QUANTIZED)
    if not path.is_file():
        raise FileNotFoundError(
            f"dtype int8 needs {path}: make it with aerial-deblur quantize {weights}"
        )
    card = weights.with_suffix(".md")
    checked_digest(path, read_card(card).int8_sha256 if is_card(card) else None)
    if digest.encode() not in path.read_bytes():
        raise CheckpointError(
            f"{path} was made of other weights than {weights}: make it again with aerial-deblur "
            "quantize"
        )
    return path
