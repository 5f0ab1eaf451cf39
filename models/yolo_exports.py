"""Exports of Ultralytics: ONNX, OpenVINO, TorchScript and TensorRT engines.

On a CPU, ONNX and OpenVINO run in runtimes of our own: those of Ultralytics take all cores for one
process and pin several processes to the same one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backend_choice import Backend, Dtype
from models.cards import CheckpointError
from models.detector_runtimes import Cells, CpuCells, check_runtime
from models.openvino_runtime import OpenVinoRuntime, read_model
from models.quiet_openvino import openvino
from models.torch_cells import TorchCells, YoloGraph
from models.yolo import (
    CUTS,
    FORMATS,
    TASKS,
    Yolo,
    check_task,
    chosen_names,
    class_names,
    import_ultralytics,
)

Images = NDArray[np.uint8]
Run = Callable[[Images], Sequence[NDArray[Any]]]
Size = tuple[int, int]


def open_export(
    weights: Path,
    names: tuple[str, ...] | None,
    *,
    device: str,
    backend: Backend,
    dtype: Dtype,
) -> Yolo:
    """Open an export, whose source and digest have been checked.

    On a CPU, OpenVINO runs ONNX, too, unless `backend` is onnxruntime. What else there is, is run
    by what it was exported for, in the numbers that it was exported in. Raises CheckpointError for
    a file that is not what its name says, or whose raw cells cannot be seen, and ValueError where
    it cannot be run as asked.
    """
    import_ultralytics()
    kind = FORMATS.get(weights.suffix, "openvino")
    runs = {"onnx": ("torch", "openvino", "onnxruntime"), "openvino": ("torch", "openvino")}
    if backend not in runs.get(kind, ("torch",)):
        raise ValueError(f"backend {backend} does not run {weights}: set backend to auto")
    if kind == "openvino" or (kind == "onnx" and device == "cpu"):
        check_runtime("onnxruntime" if backend == "onnxruntime" else "openvino", device, dtype)
        facts = _read_facts(weights)
        cells, size = _open_on_cpu(weights, backend, dtype)
    else:
        if dtype != "float32":
            raise ValueError(f"{weights} computes in what it was exported in, got dtype={dtype!r}")
        facts = _load_autobackend(weights, kind, device)
        cells, size = TorchCells(YoloGraph(facts), device), _fixed_size(facts)
    task = facts.task or "detect"
    check_task(weights, task)
    if facts.end2end:
        raise CheckpointError(f"{weights} {CUTS}")
    found = class_names(weights, facts.names)
    return Yolo(cells, chosen_names(weights, found, names), TASKS[task], size)


def _read_facts(weights: Path) -> Any:  # noqa: ANN401 - an untyped package
    """Return what Ultralytics wrote into an export: names, task, end2end; little if another did."""
    from ultralytics.nn.autobackend import check_class_names
    from ultralytics.nn.backends.base import BaseBackend

    facts = SimpleNamespace(names={}, task=None, end2end=False, dynamic=False)
    try:
        BaseBackend.apply_metadata(facts, BaseBackend.read_metadata(_model_file(weights)))
        facts.names = check_class_names(facts.names) if facts.names else {}
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise CheckpointError(f"what {weights} says of itself makes no sense: {error}") from error
    return facts


def _model_file(weights: Path) -> Path:
    if not weights.is_dir():
        return weights
    files = sorted(weights.glob("*.xml"))
    if len(files) != 1:
        raise CheckpointError(f"{weights} must hold one .xml file, got {len(files)}")
    return files[0]


def _open_on_cpu(weights: Path, backend: Backend, dtype: Dtype) -> tuple[Cells, Size | None]:
    """Return what runs an ONNX or OpenVINO export, and the only size that it takes, if it does."""
    try:
        model = read_model(_model_file(weights))
        batch, channels, *sides = (_fixed(axis) for axis in model.input().partial_shape)
        kind = model.input().element_type.to_dtype()
        if len(sides) != 2 or channels not in (None, 3) or kind not in (np.float16, np.float32):
            raise CheckpointError(
                f"{weights} must take floats (n, 3, h, w), got {kind} {model.input().partial_shape}"
            )
        model = _for_bytes(model, kind)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} is damaged or no export: {error}") from error
    if backend == "onnxruntime":
        run = _run_in_onnx_runtime(weights, kind)
    else:
        run = OpenVinoRuntime(model, "bfloat16" if dtype == "bfloat16" else "float32")
    height, width = sides
    return CpuCells(_repeated(run, batch or 1)), (height, width) if height and width else None


def _fixed(axis: openvino.Dimension) -> int | None:
    """Return the length of an axis, or None if it may have any."""
    return int(axis.get_length()) if axis.is_static else None


def _for_bytes(model: openvino.Model, kind: np.dtype[Any]) -> openvino.Model:
    """Let a model of floats (n, 3, h, w) in [0, 1] take uint8 (n, h, w, 3)."""
    steps = openvino.preprocess.PrePostProcessor(model)
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.model().set_layout(openvino.Layout("NCHW"))
    floats = given.preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    floats.convert_element_type(openvino.Type(kind))
    return steps.build()


def _run_in_onnx_runtime(weights: Path, kind: np.dtype[Any]) -> Run:
    from models.onnx_runtime import OnnxRuntime  # It need not be installed.

    runtime = OnnxRuntime(weights)

    def run(images: Images) -> Sequence[NDArray[Any]]:
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        pixels /= 255
        return runtime(pixels.astype(kind, copy=False))

    return run


def _repeated(run: Run, batch: int) -> Run:
    """Let an export that takes batches of one size only run a single picture."""
    if batch == 1:
        return run
    return lambda images: [cells[:1] for cells in run(np.repeat(images, batch, axis=0))]


def _load_autobackend(weights: Path, kind: str, device: str) -> Any:  # noqa: ANN401
    """Load what Ultralytics runs; refuse names of which it thinks otherwise: `best_qnn.onnx`."""
    from ultralytics.nn.autobackend import AutoBackend

    found = AutoBackend._model_type(str(weights))
    if found != kind:
        raise CheckpointError(f"{weights} would be read as {found}: give it a plainer name")
    return AutoBackend(
        str(weights), device=torch.device(device), fuse=True, verbose=False, end2end=False
    ).eval()


def _fixed_size(backend: Any) -> Size | None:  # noqa: ANN401 - an untyped package
    size = None if backend.dynamic else getattr(backend, "imgsz", None)
    return (int(size[0]), int(size[1])) if size else None
