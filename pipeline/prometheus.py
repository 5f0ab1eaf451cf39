"""A run's numbers for Prometheus: a file for the node exporter, or a push to a gateway.

    run.json, tables -> families of gauges -> NAME.prom | pushgateway

All have the label `settings`, the identity of what is comparable: several jobs may report from one
machine. A run with exit code 0 replaces all that was told before. Of any other what it has no
numbers for stays as it was: the time of the last success, and the results of then.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from http.client import HTTPException
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    push_to_gateway,
    pushadd_to_gateway,
    write_to_textfile,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.registry import Collector
from upath import UPath

from configs.operations import ObserveConfig
from pipeline.manifest import ExitCode, Manifest
from pipeline.verdict import overall
from transforms.numbers import metric_prefix
from transforms.parquet import read_rows
from transforms.records import SummaryRow
from transforms.tables import REJECTED, SUMMARY

PREFIX = "aerial_deblur_"
JOB = "aerial_deblur"
PUSH_SECONDS = 10.0
ARMS = ("before", "after")
STAGES = ("open", "read", "deblur", "mosaic", "detect", "measure")
"""Where a window, or a scene, can be rejected."""


def report_run(observe: ObserveConfig, output: UPath, run: Manifest) -> list[str]:
    """Tell Prometheus how a run ended, if the settings say so; return what went wrong with that.

    `run` is what run.json says of the run, well ended or not, and `output` has its tables. It is
    the run that counts: that nobody can be told is worth a warning.
    """
    if observe.prometheus is None and observe.pushgateway is None:
        return []
    try:
        families = list(describe_run(output, run))
    except (OSError, ValueError) as error:
        return [f"Prometheus was not told: the tables of the run cannot be read: {error}"]
    problems = []
    replace = run["exit_code"] == ExitCode.OK
    if observe.prometheus is not None:
        try:
            write_textfile(observe.prometheus, families, replace=replace)
        except (OSError, ValueError) as error:
            problems.append(f"{observe.prometheus} was not written: {error}")
    if observe.pushgateway is not None:
        try:
            push(observe.pushgateway, families, instance=run["settings_id"], replace=replace)
        except (OSError, ValueError, HTTPException) as error:
            problems.append(f"the push gateway {observe.pushgateway} was not told: {error}")
    return problems


def write_textfile(path: Path, families: Sequence[Metric], *, replace: bool) -> None:
    """Write the file whole; unless all is to be replaced, with what it had beside these families.

    Raises OSError if it cannot be written.
    """
    new = {family.name for family in families}
    kept = [] if replace else [each for each in _read_textfile(path) if each.name not in new]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), _registry([*kept, *families]))


def push(url: str, families: Sequence[Metric], *, instance: str, replace: bool) -> None:
    """Push the families to a gateway, in place of all that it has of the instance or of their own.

    Raises OSError or HTTPException if it does not answer, or refuses.
    """
    tell = push_to_gateway if replace else pushadd_to_gateway
    grouping = {"instance": instance}
    tell(url, job=JOB, registry=_registry(families), grouping_key=grouping, timeout=PUSH_SECONDS)


def describe_run(output: UPath, run: Manifest) -> Iterator[Metric]:
    """Yield a family of gauges for everything that is known of a run that has ended."""
    yield from _describe_end(run)
    if not run["counts"]:
        return
    yield from _describe_work(run)
    found = Counter(row["stage"] for row in read_rows(output, REJECTED, ("stage",)))
    rejects = _by("stage", {stage: found[stage] for stage in STAGES})
    yield _gauge("rejects", "Rejected windows, scenes without a mosaic, by stage", run, rejects)
    yield from _describe_results([SummaryRow(**row) for row in read_rows(output, SUMMARY)], run)


Samples = Mapping[tuple[tuple[str, str], ...], float]
"""Values by labels, beside those that all gauges have."""


def _describe_end(run: Manifest) -> Iterator[Metric]:
    finished = datetime.fromisoformat(run["finished"]).timestamp()
    config = run["config"]
    known = {
        "run_id": run["run_id"],
        "code_version": run["code_version"],
        "engine": config["engine"]["name"],
        "device": config["deblur"]["device"],
        "output": config["output"],
    }
    yield _gauge("run_info", "What ran last", run, {tuple(known.items()): 1})
    yield _gauge("exit_code", "Exit code of the last run", run, _one(run["exit_code"]))
    started = datetime.fromisoformat(run["started"]).timestamp()
    for name, time in (("started", started), ("finished", finished)):
        help_ = f"When the last run {name}"
        yield _gauge(f"{name}_timestamp_seconds", help_, run, _one(time))
    if run["exit_code"] == ExitCode.OK:
        help_ = "When the last run with exit code 0 finished"
        yield _gauge("success_timestamp_seconds", help_, run, _one(finished))
    yield _gauge("wall_seconds", "Duration of the last run", run, _one(run["wall_seconds"]))


def _describe_work(run: Manifest) -> Iterator[Metric]:
    counts, metrics = run["counts"], run["metrics"] or {}
    windows = {name: counts[name] for name in ("measured", "empty", "rejected")}
    yield _gauge("windows", "Planned windows by how they ended", run, _by("status", windows))
    unmade = _one(counts["unmade_mosaics"])
    yield _gauge("scenes_without_mosaic", "Scenes of which no mosaic could be made", run, unmade)
    yield _gauge("scenes", "Scenes of the run", run, _one(len(run["scenes"])))
    yield _gauge("pixels", "Pixels measured", run, _one(run["mpix"] * 1e6))
    seconds = _by("stage", run["stage_seconds"])
    yield _gauge("stage_seconds", "Seconds of all workers together by stage", run, seconds)
    numbers = (
        ("resumed_windows", "Windows kept by an earlier attempt", ("tiles", "resumed"), 1),
        ("pixels_per_second", "Pixels finished a second", ("mpix_per_second",), 1e6),
        ("gpu_busy_ratio", "Share of worker time that GPUs computed", ("gpu_busy", "share"), 1),
        ("peak_memory_bytes", "Most memory of a worker process", ("peak_mib", "max"), 2**20),
    )
    for name, help_, path, unit in numbers:
        value = _at(metrics, path)
        if value is not None:
            yield _gauge(name, help_, run, _one(value * unit))
    devices = _by("device", metrics.get("device_pictures") or {})
    yield _gauge("device_pictures", "Pictures by the device of the networks", run, devices)


def _describe_results(rows: Sequence[SummaryRow], run: Manifest) -> Iterator[Metric]:
    """Yield what is known of detection and quality; nothing of a run without truth."""
    truth, numbers = overall(rows)
    if truth == "none":
        return
    prefix = metric_prefix(truth)
    for metric in (f"{prefix}recall", f"{prefix}precision"):
        found = {arm: numbers[arm, metric].value for arm in ARMS if (arm, metric) in numbers}
        known = {arm: value for arm, value in found.items() if value is not None}
        help_ = f"{_words(metric)} over everything, by arm"
        yield _gauge(metric, help_, run, _by("arm", known))
    for metric in (f"{prefix}recall_gain", "psnr_gain"):
        row = numbers.get(("after", metric))
        for name in ("value", "low", "high"):
            value = None if row is None else getattr(row, name)
            if value is not None:
                end = "" if name == "value" else f"_{name}"
                what = f"{name} end of its 95 % interval" if end else "after less before"
                yield _gauge(f"{metric}{end}", f"{_words(metric)}: {what}", run, _one(value))


def _gauge(name: str, help_: str, run: Manifest, samples: Samples) -> Metric:
    names = [label for label, _ in next(iter(samples), ())]
    family = GaugeMetricFamily(f"{PREFIX}{name}", help_, labels=["settings", *names])
    for labels, value in samples.items():
        family.add_metric([run["settings_id"], *(text for _, text in labels)], value)
    return family


def _one(value: float) -> Samples:
    return {(): value}


def _by(label: str, values: Mapping[str, float]) -> Samples:
    return {((label, name),): value for name, value in sorted(values.items())}


def _words(metric: str) -> str:
    """Return a metric's name as words, such as `Recall gain`."""
    return metric.replace("_", " ").capitalize()


def _at(known: object, path: Iterable[str]) -> float | None:
    """Return the number at a path of a nested object; None where it ends before."""
    for name in path:
        known = known.get(name) if isinstance(known, Mapping) else None
    return known if isinstance(known, int | float) else None


def _read_textfile(path: Path) -> list[Metric]:
    """Return what an earlier run wrote; nothing, if it did not or that cannot be understood."""
    try:
        with path.open(encoding="utf-8") as file:
            return list(text_fd_to_metric_families(file))
    except (FileNotFoundError, ValueError, IndexError):  # the last is a fault of the parser
        return []


def _registry(families: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(families)))
    return registry


class _Families(Collector):
    """Families that are known already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
