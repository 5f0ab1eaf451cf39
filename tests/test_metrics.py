"""What workers counted, as a run tells it."""

import apache_beam as beam
import pytest
from apache_beam.metrics.execution import MetricKey, MetricResult
from apache_beam.metrics.metric import MetricName
from apache_beam.metrics.metric import Metrics as BeamMetrics
from upath import UPath

from pipeline import manifest
from pipeline.metrics import Metrics, Spread, describe_reads
from transforms.network import NetworkUse

WALL = 100.0


def count(_, step):
    BeamMetrics.counter("tiles", "empty").inc(step)
    BeamMetrics.distribution("batch_tiles", "batch_tiles").update(step)


def test_numbers_of_several_steps_are_put_together():
    pipeline = beam.Pipeline(runner="FnApiRunner")
    ones = pipeline | beam.Create([0, 0], reshuffle=False)
    for step in (1, 5):
        _ = ones | f"Step{step}" >> beam.Map(count, step)
    result = pipeline.run()
    result.wait_until_finish()
    metrics = Metrics.of(result)
    assert metrics.count("tiles") == {"empty": 12}
    assert metrics.spread("batch_tiles") == {"batch_tiles": Spread(4, 12, 1, 5)}


class Late:
    """The result of an engine that does not know what it has committed."""

    def metrics(self):
        """Return itself."""
        return self

    def query(self):
        """Return one counter that was only attempted."""
        key = MetricKey("step", MetricName("tiles", "empty"))
        return {"counters": [MetricResult(key, None, 3)], "distributions": []}


def test_what_an_engine_only_attempted_counts():
    assert Metrics.of(Late()).count("tiles") == {"empty": 3}


def made(counts=(), spreads=()):
    return Metrics(dict(counts), dict(spreads))


def test_the_budget_is_the_time_of_all_workers():
    spent = {"stage_microseconds": {"read": 30_000_000, "deblur": 90_000_000}}
    waiting = {"waiting_milliseconds": {"waiting_milliseconds": Spread(2, 20_000, 1, 19_999)}}
    budget = made(spent, waiting).describe(workers=2, wall=WALL)["budget"]
    assert (budget["workers"], budget["wall_seconds"]) == (2, WALL)
    assert budget["stages"] == {
        "deblur": {"seconds": 90.0, "share": 0.45},
        "read": {"seconds": 30.0, "share": 0.15},
        "waiting": {"seconds": 20.0, "share": 0.1},
        "unaccounted": {"seconds": 60.0, "share": 0.3},
    }


def test_speed_is_that_of_what_this_attempt_did():
    counts = {
        "tiles": {"measured": 40, "rejected": 10, "resumed": 900},
        "pixels": {"kept": 250_000_000},
    }
    described = made(counts).describe(workers=1, wall=WALL)
    assert described["tiles_per_second"] == 0.5
    assert described["mpix_per_second"] == 2.5


@pytest.mark.parametrize(
    ("devices", "expected"),
    [({"cpu": 5}, None), ({"cuda NVIDIA L4": 5}, {"seconds": 50.0, "share": 0.25})],
)
def test_a_gpu_is_busy_where_there_is_one(devices, expected):
    counts = {"device_pictures": devices, "gpu_microseconds": {"gpu_microseconds": 50_000_000}}
    described = made(counts).describe(workers=2, wall=WALL)
    assert described["device_pictures"] == devices
    assert described["gpu_busy"] == expected


def test_requests_are_told_where_somebody_counts_them():
    counts = {"network": {"requests": 6, "bytes": 900, "reads": 4, "mosaic_requests": 1}}
    reads = describe_reads(made(counts), NetworkUse(2, 50))
    assert reads == {
        "requests": 6,
        "bytes": 900,
        "tiles": 4,
        "requests_per_tile": 1.5,
        "mosaics": {"requests": 1, "bytes": 0},
        "planning": {"requests": 2, "bytes": 50},
    }
    assert describe_reads(made(counts), NetworkUse(known=False)) is None


def test_a_run_tells_where_its_time_went(finished):
    run = manifest.read(UPath(finished))
    metrics = run["metrics"]
    stages = {"resume", "load", "read", "deblur", "detect", "measure", "keep", "write"}
    assert run["stage_seconds"].keys() == stages
    budget = metrics["budget"]
    assert budget["stages"].keys() == stages | {"waiting", "unaccounted"}
    whole = sum(stage["seconds"] for stage in budget["stages"].values())
    assert whole == pytest.approx(budget["workers"] * budget["wall_seconds"], abs=0.01)
    assert budget["wall_seconds"] <= run["wall_seconds"]
    assert metrics["tile_milliseconds"]["deblur"]["count"] == run["counts"]["measured"]


def test_a_run_counts_what_its_tables_hold(finished):
    run = manifest.read(UPath(finished))
    metrics = run["metrics"]
    assert metrics["tiles"] == {"measured": run["counts"]["measured"]}
    assert metrics["rejects"] == {}
    assert metrics["pixels"]["kept"] == run["mpix"] * 1e6
    assert metrics["pixels"]["read"] > metrics["pixels"]["kept"]
    # A table without rows is made at the end, by nobody who counts.
    parts = [finished / part["path"] for part in run["outputs"] if part["rows"]]
    assert metrics["bytes_written"]["tables"] == sum(part.stat().st_size for part in parts)
    assert metrics["device_pictures"].keys() == {"cpu"}
    assert metrics["gpu_busy"] is None
    assert metrics["peak_mib"]["max"] > 0
