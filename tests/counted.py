"""A small pipeline whose progress, results and faults can be seen from outside."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

KEYS = 3


def counted_pipeline(
    options: PipelineOptions,
    folder: Path,
    count: int,
    *,
    seconds: float = 0,
    fails_at: int | None = None,
    fails_once_at: int | None = None,
    dies_at: int | None = None,
    hangs_at: int | None = None,
) -> beam.Pipeline:
    """Return a pipeline that adds up 0 to `count - 1` by their remainders.

    Every number leaves a file `unit-N` in the folder, every sum a file `sum-KEY`. A number takes
    `seconds`; one may raise, always or the first time it is met, kill its process the first time,
    or hang.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, keys = str(folder), KEYS

    # Functions within a function travel by value: workers cannot import the tests.
    def settle(number: int) -> tuple[int, int]:
        time.sleep(seconds)
        if number == fails_at:
            raise ValueError(f"number {number} is not liked")
        if number == fails_once_at and not os.path.exists(f"{place}/failed"):
            Path(place, "failed").touch()
            raise OSError(f"number {number} is not there yet")
        if number == hangs_at:
            time.sleep(3600)
        if number == dies_at and not os.path.exists(f"{place}/died"):
            Path(place, "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        Path(place, f"unit-{number}").write_text(str(os.getpid()))
        return number % keys, number

    def write(key: int, numbers: Iterable[int]) -> None:
        Path(place, f"sum-{key}").write_text(str(sum(numbers)))

    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | "Numbers" >> beam.Create(list(range(count)))
        | "Spread" >> beam.Reshuffle()
        | "Settle" >> beam.Map(settle)
        | "ByKey" >> beam.GroupByKey()
        | "Write" >> beam.MapTuple(write)
    )
    return pipeline


def settled_in(folder: Path) -> Callable[[], int]:
    """Return what counts the units that are there."""
    return lambda: len(list(folder.glob("unit-*")))


def sums_in(folder: Path) -> list[int]:
    """Return the sums that were written, by key."""
    return [int((folder / f"sum-{key}").read_text()) for key in range(KEYS)]


def sums_of(count: int) -> list[int]:
    """Return the sums that are right."""
    return [sum(range(key, count, KEYS)) for key in range(KEYS)]


def processes_of(folder: Path) -> set[int]:
    """Return the processes that settled something."""
    return {int(path.read_text()) for path in folder.glob("unit-*")}
