"""ONNX Runtime as what computes a network on a CPU."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quiet_onnxruntime import onnxruntime
from models.tracing import quiet_tracing

Images = NDArray[np.uint8]

PICTURE = {1: "height", 2: "width"}
"""The free axes of pictures."""
RESTORED: Mapping[str, Mapping[int, str]] = {"levels": PICTURE, "total": {}}
"""What a restorer returns: levels, and the sum of its corrections."""


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


def convert_module(
    module: Any,  # noqa: ANN401 - torch is imported late
    example: Any,  # noqa: ANN401
    outputs: Mapping[str, Mapping[int, str]] = RESTORED,
) -> bytes:
    """Return a module of torch that takes uint8 (1, h, w, 3), h and w free, as ONNX.

    `outputs` are its results by name, with the names of their axes that are free.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder, quiet_tracing():
        path = Path(folder, "network.onnx")
        torch.onnx.export(
            module,
            (example,),
            path,
            opset_version=17,
            dynamo=False,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_axes={
                "images": PICTURE,
                **{name: dict(axes) for name, axes in outputs.items()},
            },
        )
        return path.read_bytes()
