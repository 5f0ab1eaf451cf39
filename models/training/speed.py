"""How long a network takes on this machine: what a model card tells of its speed."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray


def measure_cpu_seconds(network: Callable[[NDArray[np.uint8]], object], side: int = 640) -> float:
    """Return the processor seconds per megapixel on one thread, the median of five runs.

    `network` takes uint8 (1, side, side, 3).
    """
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        network(image)
        seconds.append(time.process_time() - start)
    torch.set_num_threads(threads)
    return round(float(np.median(seconds)) / (side * side / 1e6), 3)
