"""Run the main job from start to finish: check, submit, count, report, exit code."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult
from rich.console import Console
from upath import UPath

from configs.load import validate
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.beam_flags import LOCAL_RUNNER, beam_options
from pipeline.detection_gain import DetectionGain
from pipeline.direct import Networks, settle_windows
from pipeline.manifest import Counts, ExitCode
from pipeline.mosaics import publish_mosaics
from pipeline.planning import Plan, describe, plan_run
from pipeline.progress import run_with_progress
from pipeline.verdict import results_table, verdict
from pipeline.worker_log import workers_log_to
from transforms import network
from transforms.assemble import FOR_MOSAICS
from transforms.network import NetworkUse, take_network_use
from transforms.objects import change_of, claimed_objects
from transforms.parquet import list_parts, read_rows
from transforms.records import Rejected, Settled, SummaryRow, TileRow, Window
from transforms.seam_rows import worst_seam
from transforms.stopwatch import NAMESPACE
from transforms.storage import check_reachable
from transforms.tables import REJECTED, SUMMARY, TILES

WORKER_LOG = "_workers.log"
"""In the output folder: what Beam and its worker processes logged."""


def run(config: RunConfig, beam_flags: Sequence[str] = (), *, force: bool = False) -> int:
    """Run the main job; return its exit code.

    Raises ValueError or OSError before anything is written if the run cannot be started.
    """
    console = Console(stderr=True)
    options = beam_options(config.engine, beam_flags)
    check_reachable(config.output)
    take_network_use()
    plan = plan_run(config, local=options.view_as(StandardOptions).runner == LOCAL_RUNNER)
    console.print(describe(plan))
    if manifest.check_output(config.output, plan.run_id, force=force) == "done":
        console.print(f"{config.output} already holds this run: nothing to do")
        return ExitCode.NOTHING_TO_DO
    manifest.start(config.output, plan.manifest)
    try:
        return _run(plan, options, console, take_network_use())
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
        manifest.finish(config.output, exit_code=1, error=message)
        raise


def replay(output: UPath, key: str) -> int:
    """Process one window of an earlier run again, in this process, and say how it ends.

    Returns 0 if it is measured or empty, 3 if it is rejected again.
    """
    settings = manifest.read(output)["config"]
    plan = plan_run(validate(RunConfig, settings, source=str(output / manifest.NAME)))
    console = Console()
    unopened = [reject for reject in plan.rejected if reject.key == key]
    windows = [window for window in plan.windows if window.key == key]
    if key in {scene.name for scene in plan.scenes}:
        raise ValueError(
            f"{key} is a scene without a mosaic, and no window: its row in the table rejected says "
            "what to mend; then start the run again"
        )
    if not windows and not unopened:
        raise ValueError(f"the run in {output} plans no window {key!r}")
    settled = [*unopened, *_settle_apart(plan, windows)]
    for outcome in settled:
        if isinstance(outcome, Rejected):
            console.print(f"{key} rejected at {outcome.stage}: {outcome.exception}")
            console.print(outcome.message, markup=False)
            return ExitCode.TOO_MANY_REJECTS
        console.print(f"{key} {outcome.status}: {_describe(outcome)}", markup=False)
    return ExitCode.OK


def _settle_apart(plan: Plan, windows: Sequence[Window]) -> list[Settled]:
    """Return how windows end, with the cores of mosaics, of which nothing stays."""
    with tempfile.TemporaryDirectory() as folder:
        config = plan.config.model_copy(update={"output": UPath(folder)})
        apart = replace(plan, config=config)
        cores = config.mosaic.write
        return list(settle_windows(apart, windows, Networks.of(plan), keep_cores=cores))


def _run(plan: Plan, options: PipelineOptions, console: Console, planning: NetworkUse) -> int:
    config = plan.config

    def submit(progress: Path) -> PipelineResult:
        pipeline = beam.Pipeline(options=options)
        pipeline | "DetectionGain" >> DetectionGain(plan, progress)
        result = pipeline.run()
        result.wait_until_finish()
        return result

    with workers_log_to(config.output / WORKER_LOG) as terminal:
        result = run_with_progress(
            submit,
            planned=plan.planned,
            opened=len(plan.windows),
            console=Console(file=terminal),
        )
    counts = _count_settled(plan)
    mosaics = publish_mosaics(plan)
    summary = [SummaryRow(**row) for row in read_rows(config.output, SUMMARY)]
    exit_code = _judge(counts, summary, config, console)
    manifest.finish(
        config.output,
        exit_code=exit_code,
        counts=counts,
        seconds=_stage_seconds(result),
        pixels=plan.core_pixels,
        reads=describe_reads(_counters(result, network.NAMESPACE), planning),
        parts=list_parts(config.output),
        mosaics=mosaics,
    )
    console.print(results_table(summary))
    console.print(verdict(summary), markup=False)
    console.print(f"Written to {config.output}", markup=False)
    return exit_code


def _count_settled(plan: Plan) -> Counts:
    """Count what was written, and fail unless every planned window is there exactly once."""
    output = plan.config.output
    tiles = list(read_rows(output, TILES, ("key", "status")))
    # A scene without a mosaic is a reject too, under its name, but no planned window.
    scenes = {scene.name for scene in plan.scenes}
    keys = [row["key"] for row in read_rows(output, REJECTED, ("key",))]
    rejects = [key for key in keys if key not in scenes]
    status = Counter(row["status"] for row in tiles)
    unmade = len(keys) - len(rejects)
    counts = Counts(plan.planned, status["measured"], status["empty"], len(rejects), unmade)
    written = Counter([*(row["key"] for row in tiles), *rejects])
    planned = Counter(reject.key for reject in plan.rejected)
    planned.update(window.key for window in plan.windows)
    manifest.conservation(
        counts,
        missing=sorted((planned - written).elements()),
        unplanned=sorted((written - planned).elements()),
    )
    return counts


def _judge(
    counts: Counts, summary: Sequence[SummaryRow], config: RunConfig, console: Console
) -> ExitCode:
    """Return the exit code of a run that came to its end, and say why if it is not 0."""
    if counts.rejected > config.max_rejected * counts.planned:
        console.print(
            f"{counts.rejected} of {counts.planned} windows were rejected, more than the allowed "
            f"{100 * config.max_rejected:g} %: see the table rejected",
            markup=False,
        )
        return ExitCode.TOO_MANY_REJECTS
    if counts.unmade_mosaics:
        console.print(
            f"{counts.unmade_mosaics} scenes have no mosaic: see the table rejected", markup=False
        )
        return ExitCode.TOO_MANY_REJECTS
    seam = worst_seam(summary, config.measure.seams)
    if seam:
        console.print(seam, markup=False)
        return ExitCode.GATE_FAILED
    return ExitCode.OK


def _stage_seconds(result: PipelineResult) -> dict[str, float]:
    """Return the seconds that all workers together spent in each stage."""
    return {stage: count / 1e6 for stage, count in _counters(result, NAMESPACE).items()}


def _counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """Return the sums over all workers of the counters of a namespace, by name."""
    counters = result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]
    return {counter.key.metric.name: counter.committed for counter in counters}


def describe_reads(counts: Mapping[str, int], planning: NetworkUse) -> dict[str, object] | None:
    """Return what was asked of servers for run.json, or None where nobody counted.

    `planning` is what opening the scenes cost before the workers began.
    """
    if not planning.known:
        return None
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


def _describe(row: TileRow) -> str:
    changes = Counter(change_of(*pair) for pair in claimed_objects(row).tolist())
    return f"{changes['kept']} objects kept, {changes['gained']} gained, {changes['lost']} lost"
