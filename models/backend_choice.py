"""Which backend is fastest here: measured once on a machine, and remembered."""

import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from models.user_cache import cache_folder, key_of, recall, remember

Images = NDArray[np.uint8]

Backend = Literal["torch", "openvino", "onnxruntime"]
Dtype = Literal["float32", "bfloat16", "float16", "int8"]

GpuCalls = Literal["plain", "graphs", "compiled"]
"""How a GPU is called: kernel by kernel, by CUDA graphs, or by CUDA graphs of compiled kernels."""

DTYPES: dict[Backend, tuple[Dtype, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "openvino": ("float32", "bfloat16", "int8"),
    "onnxruntime": ("float32", "int8"),
}
"""What each backend computes in."""
VARIABLE = "AERIAL_DEBLUR_BACKEND"
"""The environment variable that names what `auto` takes, wherever it can compute what is asked."""
SIDE, ROUNDS = 256, 3

_log = logging.getLogger(__name__)


def installed(device: str, dtype: Dtype) -> tuple[Backend, ...]:
    """Return the backends among which `auto` chooses, PyTorch first if it can run a network so.

    ONNX Runtime is there only where OpenVINO is not: what is converted for it is not kept.
    """
    if device != "cpu":
        return ("torch",)
    found = [backend for backend, takes in DTYPES.items() if dtype in takes and find_spec(backend)]
    return tuple(each for each in found if each != "onnxruntime" or "openvino" not in found)


def choose_backend(
    facts: Mapping[str, str],
    candidates: Sequence[Backend],
    load: Callable[[Backend], Callable[[Images], object]],
) -> Backend:
    """Return the fastest of some backends, from memory if this machine has measured it before.

    `facts` say what is run, such as the digest of the weights; `load` returns a network that takes
    uint8 (1, h, w, 3). A backend that cannot be loaded does not count; if none can, the first one's
    error is raised. `AERIAL_DEBLUR_BACKEND` names the answer where it is a candidate.
    """
    named = os.environ.get(VARIABLE)
    if named in candidates:
        return cast(Backend, named)
    if len(candidates) == 1:
        return candidates[0]
    path = cache_folder() / "backends" / f"{_key(facts, candidates)}.json"
    known = recall(path).get("backend")
    if known in candidates:
        return cast(Backend, known)
    seconds = _measure(candidates, load)
    fastest = min(seconds, key=lambda backend: seconds[backend])
    _log.info("%s is the fastest backend of %s", fastest, seconds)
    remember(path, {"backend": fastest, "seconds": seconds})
    return fastest


def _measure(
    candidates: Sequence[Backend], load: Callable[[Backend], Callable[[Images], object]]
) -> dict[Backend, float]:
    """Return the processor seconds that each needs for a picture: the least of some rounds."""
    networks, first_error = {}, None
    for backend in candidates:
        try:
            networks[backend] = load(backend)
        except (ImportError, RuntimeError) as error:  # of the backend, not of the weights
            first_error = first_error or error
            _log.warning("backend %s does not count: %s", backend, error)
    if not networks:
        assert first_error is not None
        raise first_error
    picture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    seconds: dict[Backend, float] = {}
    for number in range(ROUNDS + 1):
        for backend, network in networks.items():
            start = time.process_time()
            network(picture)
            took = time.process_time() - start
            if number:  # the first call compiles
                seconds[backend] = min(took, seconds.get(backend, took))
    return seconds


def _key(facts: Mapping[str, str], candidates: Sequence[Backend]) -> str:
    known = {**facts, "processor": _processor()}
    for package in (*candidates, "numpy"):
        try:
            known[f"version of {package}"] = version(package)
        except PackageNotFoundError:
            continue
    return key_of(known)


def _processor() -> str:
    """Return the name of the processor, which on Linux only the kernel tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.machine())
