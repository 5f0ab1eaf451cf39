"""Time on the workers, by stage, summed by the engine: working, loading, waiting."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from apache_beam.metrics import Metrics

NAMESPACE = "stage_microseconds"
"""Of counters named after the stages; `load` is the loading of networks."""
PER_TILE = "tile_milliseconds"
"""Of distributions named after the stages: a batch counts as so many tiles of equal time."""
LOAD = "load"
WAITING = "waiting_milliseconds"
"""Namespace and name of the distribution of a worker process's pauses before it has a tile."""
SHORTEST_PAUSE = 1000
"""Microseconds; what is shorter is the engine's way from one stage to the next."""


class Stopwatch:
    """Adds the wall time of blocks to the numbers of a stage."""

    def __init__(self, stage: str) -> None:
        self._total = Metrics.counter(NAMESPACE, stage)
        self._load = Metrics.counter(NAMESPACE, LOAD)
        self._each = Metrics.distribution(PER_TILE, stage)
        self._pauses = Metrics.distribution(WAITING, WAITING)
        self._loaded = 0

    @contextmanager
    def running(self, tiles: int = 1) -> Iterator[None]:
        """Count the time that the block takes for so many tiles, also if it raises."""
        pause = _activity.begin()
        if tiles and pause >= SHORTEST_PAUSE:
            self._pauses.update(pause // 1000)
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            spent = (time.perf_counter_ns() - start) // 1000
            _activity.end()
            self._total.inc(spent)
            for _ in range(tiles):
                self._each.update(round(spent / tiles / 1000))
            if self._loaded:
                self._load.inc(self._loaded)
                self._loaded = 0

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count what the block takes as loading, with the next tile: in `setup` nothing counts."""
        start = time.perf_counter_ns()
        yield
        self._loaded += (time.perf_counter_ns() - start) // 1000


class _Activity:
    """When this process was last at work, in any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running = 0
        self._since: int | None = None

    def begin(self) -> int:
        """Return the microseconds in which nothing ran until now; 0 before the first work."""
        now = time.perf_counter_ns()
        with self._lock:
            idle = self._running == 0 and self._since is not None
            pause = (now - self._since) // 1000 if idle and self._since is not None else 0
            self._running += 1
        return pause

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            self._since = time.perf_counter_ns()


_activity = _Activity()
