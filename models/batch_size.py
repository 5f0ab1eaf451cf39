"""How many pictures a GPU restores at once: tried once for their size, and remembered."""

import gc
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from models.buffered_calls import WORTH
from models.user_cache import cache_folder, key_of, recall, remember

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]

SIZES = (1, 2, 4, 8, 16, 32)
NEARLY = 0.97
"""Of the best speed: for less than what is left nobody wants more memory."""
BUDGET = 0.4
"""Of the memory that is free: detectors take some too, and pictures come in parts of batches."""
ROUNDS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """Seconds of a call, and bytes of a GPU's memory that the calls took."""

    seconds: float
    memory: int


def find_batch_size(measure: Callable[[int], Trial], *, budget: float) -> int:
    """Return the smallest of `SIZES` that is nearly as fast as any within a budget of bytes.

    Sizes are tried from the smallest on, until one is slower than the one before it, needs more
    than the budget (or would, if twice the pictures need twice as much) or ends in a MemoryError.
    """
    speeds: dict[int, float] = {}
    expected, before = 0, 0.0
    for size in SIZES:
        if expected > budget:
            break
        try:
            trial = measure(size)
        except MemoryError:
            break
        if trial.memory > budget:
            break
        speeds[size] = size / trial.seconds
        if speeds[size] < NEARLY * before:
            break
        expected, before = 2 * trial.memory, speeds[size]
    best = max(speeds.values(), default=0.0)
    return next((size for size, speed in speeds.items() if speed >= NEARLY * best), SIZES[0])


def choose_batch_size(
    load: Callable[[], Network],
    facts: Mapping[str, str],
    *,
    size: tuple[int, int],
    device: str,
    sharing: int = 1,
) -> int:
    """Return the number of pictures of a size (height, width) that a GPU should restore at once.

    `load` returns the network; `facts` say which one and how it is run. `sharing` is how many
    processes use the GPU. What a machine with the same GPU has found before is taken again.
    """
    name, memory = torch.cuda.get_device_name(device), torch.cuda.mem_get_info(device)
    known = {
        **facts,
        "gpu": name,
        "memory": memory[1],
        "size": size,
        "sharing": sharing,
        "torch": torch.__version__,
    }
    path = cache_folder() / "batches" / f"{key_of(known)}.json"
    remembered = recall(path).get("batch_size")
    if remembered in SIZES:
        return int(remembered)
    measure = partial(measure_on_gpu, load, size=size, device=device)
    found = find_batch_size(measure, budget=BUDGET * memory[0] / sharing)
    _log.info("%s restores %d pictures of %s px at once", name, found, size)
    remember(path, {"batch_size": found})
    torch.cuda.empty_cache()  # Workers may be other processes.
    return found


def measure_on_gpu(
    load: Callable[[], Network], count: int, *, size: tuple[int, int], device: str
) -> Trial:
    """Return what calls of a network of its own cost; raises MemoryError where it does not fit."""
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    pictures = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
    network, seconds = load(), []
    try:
        for number in range(WORTH + ROUNDS):
            start = time.perf_counter()
            network(pictures)
            if number >= WORTH:  # Before that calls are recorded.
                seconds.append(time.perf_counter() - start)
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    return Trial(min(seconds), free - torch.cuda.mem_get_info(device)[0])
