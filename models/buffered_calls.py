"""Calls of a graph on a GPU, from memory that stays in place, so that they can be replayed.

A call of a network starts hundreds of kernels one by one, which takes a processor longer than the
GPU needs for small pictures. CUDA records such a call once and then starts all of it together,
always on the same memory.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Images = NDArray[np.uint8]
Shape = tuple[int, ...]
Outputs = tuple[Tensor, Tensor]
Graph = Callable[[Tensor], Outputs]

SHAPES = 8
"""So many shapes are recorded at most: the inside of a scene and its edges."""
WORTH = 3
"""A shape is recorded when it comes for this time: recording takes as long as several calls."""
WARM_UP = 3
"""Calls before a recording, in which libraries choose their kernels and allocate what they need."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recording:
    """`replay` computes the outputs anew from what lies in the memory of the recorded input.

    The outputs stay where they are, and last until anything of the same recorder is replayed.
    """

    replay: Callable[[], object]
    outputs: Outputs


Record = Callable[[Callable[[], Outputs]], Recording]


class CudaRecorder:
    """Records calls as CUDA graphs; they share their memory, so that one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, call: Callable[[], Outputs]) -> Recording:
        """Record a call of what lies on the GPU. Raises RuntimeError for what cannot be."""
        with torch.cuda.device(self._device):
            # As PyTorch asks: a warm-up on no default stream.
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    call()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may allocate meanwhile.
            mode = "thread_local"
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode=mode):
                outputs = call()
        return Recording(graph.replay, outputs)


@dataclass(frozen=True, eq=False)
class _Recorded:
    """A recording and the memory that it reads, uint8 (n, h, w, 3)."""

    input: Tensor
    recording: Recording

    def __call__(self, images: Tensor) -> Outputs:
        """Run at most n pictures; what is left of the memory becomes black, and costs its time."""
        count = len(images)
        self.input[:count].copy_(images, non_blocking=True)
        self.input[count:].zero_()
        self.recording.replay()
        levels, total = self.recording.outputs
        return levels[:count], total


class BufferedCalls:
    """Calls a graph for pictures in main memory; shapes that come again are recorded.

    `graph` maps uint8 (n, h, w, 3) on the device to the same and a number; `recorded` does so too,
    and is called where calls are recorded. Threads wait for each other.
    """

    def __init__(
        self, graph: Graph, device: torch.device, record: Record, recorded: Graph | None = None
    ) -> None:
        self._graph, self._recorded_graph = graph, recorded or graph
        self._device, self._record = device, record
        self._lock = Lock()
        self._met: Counter[Shape] = Counter()
        self._recorded: dict[Shape, _Recorded | None] = {}

    def __call__(self, images: Images) -> tuple[Images, float]:
        """Return the pictures, in memory of their own, and the number."""
        on_gpu = self._device.type == "cuda"
        given = torch.from_numpy(images)
        with self._lock:
            # Only from and to pinned memory can a GPU copy by itself; PyTorch uses it again.
            arriving = given.pin_memory() if on_gpu else given
            levels, total = self._run(arriving)
            results = [
                torch.empty(each.shape, dtype=each.dtype, pin_memory=on_gpu)
                for each in (levels, total)
            ]
            for result, each in zip(results, (levels, total), strict=True):
                result.copy_(each, non_blocking=True)
            if on_gpu:
                done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                done.record(torch.cuda.current_stream(self._device))
                done.synchronize()
        return cast(Images, results[0].numpy()), results[1].item()

    def _run(self, images: Tensor) -> Outputs:
        known = self._find(tuple(images.shape))
        if known is not None:
            return known(images)
        return self._graph(images.to(self._device, non_blocking=True))

    def _find(self, shape: Shape) -> _Recorded | None:
        """Return what is recorded for a shape, or for up to twice as many pictures of that size."""
        count, *sides = shape
        fitting = {
            known[0]: recorded
            for known, recorded in self._recorded.items()
            if recorded and [*known[1:]] == sides and count <= known[0] < 2 * count
        }
        if fitting:
            return fitting[min(fitting)]
        self._met[shape] += 1
        if shape in self._recorded or self._met[shape] < WORTH or len(self._recorded) == SHAPES:
            return None
        self._recorded[shape] = self._try_to_record(shape)
        return self._recorded[shape]

    def _try_to_record(self, shape: Shape) -> _Recorded | None:
        buffer = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        try:
            return _Recorded(buffer, self._record(lambda: self._recorded_graph(buffer)))
        except RuntimeError as error:  # Out of memory, say: what is not recorded is called.
            _log.warning("calls for pictures of %s are not recorded: %s", shape, error)
            return None
