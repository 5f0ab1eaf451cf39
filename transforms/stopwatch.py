"""Seconds per stage, counted on the workers and summed by the engine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.metrics import Metrics

NAMESPACE = "stage_microseconds"


class Stopwatch:
    """Add the wall time of a block to a counter named after a stage."""

    def __init__(self, stage: str) -> None:
        self._counter = Metrics.counter(NAMESPACE, stage)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time that the block takes, also if it raises."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self._counter.inc((time.perf_counter_ns() - start) // 1000)
