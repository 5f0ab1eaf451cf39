"""What computes the cells of a YOLO: PyTorch, OpenVINO or ONNX Runtime.

Cells are its raw answers for one picture: float32 (4 + classes, k) with cx cy w h in pixels and a
score for each class; oriented boxes have one more channel, the angle in radians.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.backend_choice import DTYPES, Backend, Dtype

Images = NDArray[np.uint8]


class Cells(Protocol):
    """Turns pictures, uint8 RGB (n, h, w, 3), h and w multiples of 32, into the cells of each.

    Cells of a GPU are `DeviceCells`, all others arrays. One call at a time.
    """

    def __call__(self, pictures: Images) -> Sequence[Any]:
        """Return n cells."""


class CpuCells:
    """Runs a network without PyTorch, picture by picture."""

    def __init__(self, run: Callable[[Images], Sequence[NDArray[Any]]]) -> None:
        self._run = run

    def __call__(self, pictures: Images) -> Sequence[NDArray[np.float32]]:
        """Return the cells of each picture."""
        return [self._run(each[None])[0][0].astype(np.float32, copy=False) for each in pictures]


def check_runtime(backend: Backend, device: str, dtype: Dtype) -> None:
    """Raise ValueError for what a backend cannot do."""
    takes = [each for each in DTYPES[backend] if each != "int8"]
    if dtype not in takes:
        raise ValueError(f"backend {backend} detects in {', '.join(takes)}, got dtype={dtype!r}")
    if dtype == "float16" and device == "cpu":
        raise ValueError("float16 needs a GPU, got device='cpu': choose float32 or bfloat16")
    if backend != "torch" and device != "cpu":
        raise ValueError(f"backend {backend} runs on a CPU here, got device={device!r}")


def open_cells(
    load: Callable[[], Any],
    facts: Mapping[str, str],
    *,
    device: str,
    backend: Backend,
    dtype: Dtype,
) -> Cells:
    """Return what computes the network that `load` returns, fused and in evaluation mode.

    `facts` say which one it is: one that OpenVINO has converted before is not even loaded, and
    PyTorch not imported. Raises ModuleNotFoundError if the backend is not installed.
    """
    check_runtime(backend, device, dtype)
    if backend == "openvino":
        return _open_openvino(load, facts, "bfloat16" if dtype == "bfloat16" else "float32")
    from models import torch_cells

    if backend == "torch":
        return torch_cells.TorchCells(torch_cells.place(load(), device, dtype), device)
    from models import onnx_runtime  # It need not be installed.

    graph, example = torch_cells.traceable(load())
    content = onnx_runtime.convert_module(graph, example, outputs={"cells": {2: "cell"}})
    return CpuCells(onnx_runtime.OnnxRuntime(content))


def _open_openvino(
    load: Callable[[], Any], facts: Mapping[str, str], dtype: Literal["float32", "bfloat16"]
) -> Cells:
    from models import converted
    from models.openvino_runtime import OpenVinoRuntime

    def convert() -> Any:  # noqa: ANN401 - an untyped package
        from models import torch_cells  # What is kept already does without PyTorch.

        return converted.convert_module(*torch_cells.traceable(load()))

    return CpuCells(OpenVinoRuntime(converted.converted(facts, convert), dtype))
