"""Running a model over a micro-batch so that one bad tile costs only itself."""

import gc
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.records import Rejected, Settled, Tile, TileRow, Window

Input = TypeVar("Input")
Output = TypeVar("Output")
Images = NDArray[np.uint8]


def map_pending(
    outcomes: Sequence[Input | Settled],
    function: Callable[[Sequence[Input]], Sequence[Output]],
    *,
    stage: Literal["deblur", "detect", "measure"],
    tile_of: Callable[[Input], Tile],
) -> list[Output | Settled]:
    """Apply a function to the tiles of a batch that are still under way; keep the order.

    Tiles that earlier stages settled pass through. `function` maps n inputs to n outputs; where it
    fails, the batch is halved until the fault stands alone, and that element becomes `Rejected`.
    """
    pending = _pending(outcomes)
    done = iter(_isolate(pending, function, stage=stage, tile_of=tile_of))
    return [
        outcome if isinstance(outcome, TileRow | Rejected) else next(done) for outcome in outcomes
    ]


def pending_windows(
    outcomes: Sequence[Input | Settled], tile_of: Callable[[Input], Tile]
) -> list[Window]:
    """Return the windows of a batch that are still under way."""
    return [tile_of(each).window for each in _pending(outcomes)]


def map_by_shape(
    images: Sequence[Images], network: Callable[[Images], Iterable[Output]]
) -> list[Output]:
    """Run pictures (h, w, 3) of any sizes through a network that takes stacks (n, h, w, 3).

    Pictures of one shape go together; the results come in the order of the pictures.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        groups[image.shape].append(index)
    results: dict[int, Output] = {}
    for indices in groups.values():
        stack = np.stack([images[index] for index in indices])
        results.update(zip(indices, network(stack), strict=True))
    return [results[index] for index in range(len(images))]


def _pending(outcomes: Sequence[Input | Settled]) -> list[Input]:
    return [outcome for outcome in outcomes if not isinstance(outcome, TileRow | Rejected)]


def _isolate(
    batch: list[Input],
    function: Callable[[Sequence[Input]], Sequence[Output]],
    *,
    stage: Literal["deblur", "detect", "measure"],
    tile_of: Callable[[Input], Tile],
) -> list[Output | Rejected]:
    if not batch:
        return []
    try:
        return [*function(batch)]
    except (RuntimeError, ValueError, ArithmeticError, IndexError) as error:
        if _device_is_lost(error):
            raise
        kind, message = type(error).__name__, str(error)
    # The exception is gone here: its frames would pin the tensors of the failed batch.
    if "out of memory" in message:
        _free_device_memory()
    if len(batch) == 1:
        window = tile_of(batch[0]).window
        return [Rejected(window.key, window.scene.name, stage, kind, message)]
    half = len(batch) // 2
    return [
        outcome
        for part in (batch[:half], batch[half:])
        for outcome in _isolate(part, function, stage=stage, tile_of=tile_of)
    ]


def use_one_thread() -> None:
    """Let torch and OpenCV compute on one thread of this process; more cores are for more of them.

    The order of the sums in a convolution, and so their last bits, depends on the number of
    threads: with one, a result does not depend on the machine or on the number of workers.
    """
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for PyTorch, if it is imported later
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def _device_is_lost(error: Exception) -> bool:
    """Say whether the CUDA context is broken: nothing after that can be trusted."""
    lost = ("device-side assert", "illegal memory access", "unspecified launch failure")
    return any(sign in str(error) for sign in lost)


def _free_device_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
