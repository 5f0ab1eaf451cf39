"""OpenVINO as what computes a network on a CPU."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.quiet_openvino import openvino

Images = NDArray[np.uint8]

SHAPES = 16
"""So many shapes of pictures are kept compiled; one costs about 0.15 s and 100 MB."""


@cache
def openvino_core() -> openvino.Core:
    """Return the one core of this process, which lives as long as the process.

    The CPU plugin of every core gives the thread that made it a stack for signals, and puts the
    previous one back when the core goes. Where two cores end out of order, that is memory given
    back long ago: the next signal that Python handles is a segmentation fault.
    """
    return openvino.Core()


def read_model(path: Path) -> openvino.Model:
    """Read an ONNX file or OpenVINO's own format, which are data."""
    return openvino_core().read_model(path)


def has_bfloat16() -> bool:
    """Say whether this processor computes in bfloat16 (AVX-512 BF16 or AMX)."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoRuntime:
    """Runs a model of uint8 (1, h, w, 3) pictures on one thread, compiled for each shape it meets.

    One thread, not pinned to a core: several processes share the cores of a machine, and OpenVINO
    would pin them all to the same one. A result does not depend on what was compiled before.
    """

    def __init__(
        self, model: openvino.Model, dtype: Literal["float32", "bfloat16", "int8"]
    ) -> None:
        if dtype == "bfloat16" and not has_bfloat16():
            raise RuntimeError("bfloat16 needs a processor that has it: choose float32 or int8")
        self._model = model
        self._settings = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            # Of its own accord OpenVINO takes bfloat16 wherever a processor has it.
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
        }
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, images: Images) -> Sequence[NDArray[Any]]:
        """Return the model's outputs for one picture (1, h, w, 3), as arrays of their own."""
        with self._lock:
            request = self._request(images.shape)
            return list(request.infer([images]).values())  # copies, both in and out

    def _request(self, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - an untyped package
        if shape not in self._compiled:
            while len(self._compiled) >= SHAPES:
                self._compiled.popitem(last=False)
            model = self._model.clone()
            model.reshape(list(shape))
            compiled = openvino_core().compile_model(model, "CPU", self._settings)
            self._compiled[shape] = compiled.create_infer_request()
        self._compiled.move_to_end(shape)
        return self._compiled[shape]
