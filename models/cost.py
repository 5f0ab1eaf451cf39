"""What a restoration costs: parameters, multiply-accumulates, processor time, memory.

The seconds and the memory are those of the machine at hand: compare networks within one
measurement, never across machines.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.backbones import Normalisation
from models.deblurrer import Deblurrer

Images = NDArray[np.uint8]
Restoration = Callable[[Images], object]

# Large enough for every generator; what libraries allocate once is not the picture's.
_WARM_UP_SIDE = 128
_LOOK_EVERY = 0.001


def macs_per_pixel(network: nn.Module, side: int = 256) -> float:
    """Return the multiply-accumulates per input pixel, counted on one picture of side x side px.

    Convolutions and matrix products only, as published counts do; networks whose borders are
    trimmed and padded inside (Inception) cost a little more per pixel on larger pictures.
    """
    parameter = next(network.parameters())
    picture = torch.zeros(1, 3, side, side, device=parameter.device)
    was_training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(picture)
    network.train(was_training)
    return float(counter.get_total_flops()) / 2 / side**2


def measure_cpu_seconds(network: Restoration, side: int = 640, rounds: int = 5) -> float:
    """Return the processor seconds per megapixel of one network on one thread."""
    return cpu_seconds_per_mpix({"": network}, side=side, rounds=rounds)[""]


def cpu_seconds_per_mpix(
    networks: Mapping[str, Restoration], *, side: int = 640, rounds: int = 5
) -> dict[str, float]:
    """Return the processor seconds per megapixel of each network on one thread.

    Every round runs all networks, each second round in reverse, so that whatever else the machine
    does meets all of them; the median of the rounds counts. A network takes uint8
    (1, side, side, 3).
    """
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for round_ in range(rounds):
            for name in list(networks)[:: -1 if round_ % 2 else 1]:
                start = time.process_time()
                networks[name](image)
                seconds[name].append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    mpix = side * side / 1e6
    return {name: round(float(np.median(times)) / mpix, 3) for name, times in seconds.items()}


def peak_memory_mib(weights: Path, normalisation: Normalisation, side: int = 1024) -> float:
    """Return by how much restoring a picture of side x side px raises a process's peak memory, MiB.

    The weights are loaded and run in a fresh process on one thread.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak_of, weights, normalisation, side).result()


def _peak_of(weights: Path, normalisation: Normalisation, side: int) -> float:
    torch.set_num_threads(1)
    network = Deblurrer.load(weights, normalisation=normalisation)
    network(np.zeros((1, _WARM_UP_SIDE, _WARM_UP_SIDE, 3), np.uint8))
    picture = np.zeros((1, side, side, 3), np.uint8)
    with _PeakMemory() as memory:
        network(picture)
    return round(memory.risen / 1024**2)


class _PeakMemory:
    """The peak of this process's resident memory while a block runs, looked at all the time.

    The operating system's own high-water mark will not do: importing torch raises it further than
    most pictures do.
    """

    def __enter__(self) -> "_PeakMemory":
        self._process = psutil.Process()
        self._start = self._peak = self._resident()
        self._done = Event()
        self._watcher = Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._watcher.join()

    @property
    def risen(self) -> int:
        """Return the bytes by which the peak lies above the start."""
        return self._peak - self._start

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_EVERY):
            self._peak = max(self._peak, self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)
