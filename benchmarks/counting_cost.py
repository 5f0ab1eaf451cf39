"""What counting and naming tiles costs: a tile's way through all stages with it, and without.

    python benchmarks/counting_cost.py

Both do nothing else, on Beam's local engine, in turns.
"""

import argparse
import statistics
import time
from functools import partial

import apache_beam as beam
from apache_beam.metrics import Metrics

from models.device_use import computing
from transforms import counters
from transforms.functional.windows import Rectangle
from transforms.logs import about
from transforms.network import NetworkMeter
from transforms.records import Scene, TileRow, Window
from transforms.stopwatch import Stopwatch

CORE = Rectangle(0, 0, 1024, 1024)
SCENE = Scene("a.tif", "a.tif", 1024, 1024, (1, 2, 3), "uint8", None, (1, 0, 0, 0, -1, 0))
ROW = TileRow.empty(Window(SCENE, CORE, CORE, None), "none")
STAGES = ("resume", "read", "deblur", "detect", "measure", "keep")


class Stages(beam.DoFn):
    """Does to each element what the stages do around their work, or nothing."""

    def __init__(self, counted: bool) -> None:
        self._counted = counted
        self._watches = [Stopwatch(stage) for stage in STAGES]
        self._meter = NetworkMeter()

    def process(self, number: int) -> list[int]:
        """Return the element."""
        if self._counted:
            self._count()
        return [number]

    def _count(self) -> None:
        for watch in self._watches:
            with watch.running(), about([ROW.window]), computing("cpu", 1):
                pass
        self._meter.count()
        counters.count_batch([ROW])
        counters.count_devices()
        counters.count_devices()
        counters.count_settled(ROW)
        Metrics.counter(counters.PIXELS, "read").inc(CORE.area)
        Metrics.counter(counters.WRITTEN, "units").inc(1)

    def finish_bundle(self) -> None:
        """Note the memory, as the last stage does."""
        if self._counted:
            counters.note_memory()


def seconds_of(tiles: int, *, counted: bool) -> float:
    """Return how long so many tiles take."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    numbers = pipeline | beam.Create(range(tiles), reshuffle=False)
    _ = numbers | beam.ParDo(Stages(counted))
    start = time.perf_counter()
    pipeline.run().wait_until_finish()
    return time.perf_counter() - start


def main() -> None:
    """Measure in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    measure = partial(seconds_of, options.tiles)
    rounds = [(measure(counted=True), measure(counted=False)) for _ in range(options.rounds)]
    costs = [1e6 * (with_it - without) / options.tiles for with_it, without in rounds]
    print(f"{statistics.median(costs):.0f} us a tile, rounds {[round(cost) for cost in costs]}")


if __name__ == "__main__":
    main()
