"""What the workers counted, as run.json tells it: where the time went, and what for."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apache_beam.runners.runner import PipelineResult

from transforms import counters, network, stopwatch
from transforms.assemble import FOR_MOSAICS
from transforms.network import NetworkUse

Described = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """Values that were counted one by one: how many, their sum, the least and the largest."""

    count: int
    total: int
    low: int
    high: int

    def __add__(self, other: "Spread") -> "Spread":
        """Return both together; each holds at least one value."""
        return Spread(
            self.count + other.count,
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    def describe(self) -> Described:
        """Return it for run.json."""
        mean = round(self.total / self.count, 2)
        return {"count": self.count, "mean": mean, "min": self.low, "max": self.high}


@dataclass(frozen=True)
class Metrics:
    """Sums over all workers and steps, by namespace and name.

    An engine may count what it did twice twice, and drop what a lost worker counted: how many
    windows a run has is counted in its tables.
    """

    counts: Mapping[str, Mapping[str, int]]
    spreads: Mapping[str, Mapping[str, Spread]]

    @staticmethod
    def of(result: PipelineResult) -> "Metrics":
        """Collect what an engine knows of a job that has ended."""
        found = result.metrics().query()
        counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for counter in found["counters"]:
            name = counter.key.metric
            counts[name.namespace][name.name] += counter.result or 0
        spreads: dict[str, dict[str, Spread]] = defaultdict(dict)
        for distribution in found["distributions"]:
            name, values = distribution.key.metric, distribution.result
            if not values or not values.count:
                continue
            spread = Spread(values.count, values.sum, values.min, values.max)
            known = spreads[name.namespace].get(name.name)
            spreads[name.namespace][name.name] = spread if known is None else known + spread
        return Metrics(counts, spreads)

    def count(self, namespace: str) -> dict[str, int]:
        """Return the counters of a namespace, by name, in the order of their names."""
        return dict(sorted(self.counts.get(namespace, {}).items()))

    def spread(self, namespace: str) -> dict[str, Spread]:
        """Return the distributions of a namespace, by name, in the order of their names."""
        return dict(sorted(self.spreads.get(namespace, {}).items()))

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Return the seconds that all workers together spent in each stage."""
        return {stage: spent / 1e6 for stage, spent in self.count(stopwatch.NAMESPACE).items()}

    def describe(self, *, workers: int, wall: float) -> Described:
        """Return the section `metrics` of run.json; `wall` are the seconds that the run took."""
        devices = self.count(counters.DEVICES)
        tiles = self.count(counters.TILES)
        kept = self.count(counters.PIXELS).get("kept", 0)
        done = sum(number for status, number in tiles.items() if status != "resumed")
        return {
            "tiles": tiles,
            "rejects": self.count(counters.REJECTS),
            "tiles_per_second": round(done / wall, 3) if wall > 0 else None,
            "mpix_per_second": round(kept / 1e6 / wall, 4) if wall > 0 else None,
            "budget": self._budget(workers, wall),
            "tile_milliseconds": {
                stage: spread.describe()
                for stage, spread in self.spread(stopwatch.PER_TILE).items()
            },
            "batch_tiles": self._only(counters.BATCH),
            "device_pictures": devices,
            "gpu_busy": self._gpu_busy(workers, wall) if _has_gpu(devices) else None,
            "peak_mib": self._only(counters.MEMORY),
            "pixels": self.count(counters.PIXELS),
            "bytes_written": self.count(counters.WRITTEN),
        }

    def _budget(self, workers: int, wall: float) -> Described:
        """Say how all workers together spent the run's time.

        What is not accounted for is the start of the engine and its processes, shuffles, sums and
        publication. It is negative where workers do stages at once, or a retry counts twice.
        """
        spent = self.stage_seconds
        pauses = self.spread(stopwatch.WAITING).get(stopwatch.WAITING)
        spent["waiting"] = pauses.total / 1e3 if pauses else 0.0
        whole = workers * wall
        spent["unaccounted"] = whole - sum(spent.values())
        return {
            "workers": workers,
            "wall_seconds": round(wall, 3),
            "stages": {
                stage: {
                    "seconds": round(seconds, 3),
                    "share": round(seconds / whole, 4) if whole > 0 else None,
                }
                for stage, seconds in spent.items()
            },
        }

    def _gpu_busy(self, workers: int, wall: float) -> Described:
        seconds = self.count(counters.GPU_BUSY).get(counters.GPU_BUSY, 0) / 1e6
        share = round(seconds / (workers * wall), 4) if wall > 0 else None
        return {"seconds": round(seconds, 3), "share": share}

    def _only(self, name: str) -> Described | None:
        """Return the distribution that is alone in its namespace; None if nobody counted it."""
        spread = self.spread(name).get(name)
        return None if spread is None else spread.describe()


def describe_reads(metrics: Metrics, planning: NetworkUse) -> Described | None:
    """Return what was asked of servers for run.json, or None where nobody counted.

    `planning` is what opening the scenes cost before the workers began.
    """
    if not planning.known:
        return None
    counts = metrics.count(network.NAMESPACE)
    tiles, requests = counts.get("reads", 0), counts.get("requests", 0)
    return {
        "requests": requests,
        "bytes": counts.get("bytes", 0),
        "tiles": tiles,
        "requests_per_tile": round(requests / tiles, 2) if tiles else None,
        "mosaics": {
            "requests": counts.get(f"{FOR_MOSAICS}requests", 0),
            "bytes": counts.get(f"{FOR_MOSAICS}bytes", 0),
        },
        "planning": {"requests": planning.requests, "bytes": planning.bytes},
    }


def _has_gpu(devices: Mapping[str, int]) -> bool:
    return any(device != "cpu" for device in devices)
