"""ONNX Runtime as what computes a network on a CPU."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.tracing import quiet_tracing

Images = NDArray[np.uint8]


class OnnxRuntime:
    """Runs an ONNX model of uint8 (1, h, w, 3) pictures on one thread."""

    def __init__(self, model: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    @property
    def name(self) -> str:
        """The name of the model's graph."""
        return str(self._session.get_modelmeta().graph_name)

    def __call__(self, images: Images) -> Sequence[NDArray[Any]]:
        """Return the model's outputs for one picture (1, h, w, 3)."""
        outputs: list[NDArray[Any]] = self._session.run(None, {self._input: images})
        return outputs


def convert_module(module: Any, example: Any) -> bytes:  # noqa: ANN401 - torch is imported late
    """Return a module of torch that takes uint8 (1, h, w, 3), h and w free, as ONNX."""
    import torch

    free = {1: "height", 2: "width"}
    with tempfile.TemporaryDirectory() as folder, quiet_tracing():
        path = Path(folder, "network.onnx")
        torch.onnx.export(
            module,
            (example,),
            path,
            opset_version=17,
            dynamo=False,
            input_names=["images"],
            output_names=["levels", "total"],
            dynamic_axes={"images": free, "levels": free},
        )
        return path.read_bytes()
