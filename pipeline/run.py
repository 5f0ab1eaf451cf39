"""Run the main job from start to finish: check, submit, count, report, exit code."""

import signal
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import NoReturn

import apache_beam as beam
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
from pipeline.errors import BrokenRunError
from pipeline.lease import Lease, leased
from pipeline.manifest import Counts, ExitCode, Manifest, OutputError
from pipeline.metrics import Metrics, describe_reads
from pipeline.mosaics import describe_mosaics, find_assembled
from pipeline.planning import Inventory, Plan, complete_plan, describe, plan_run, take_inventory
from pipeline.preflight import check_engine, check_places
from pipeline.progress import ProgressBar, Tallier
from pipeline.publish import publish_rasters, publish_tables, tidy
from pipeline.telling import tell_of_end, tell_of_start
from pipeline.verdict import results_table, verdict
from pipeline.watch import run_watched
from pipeline.worker_log import log_form, workers_log_to
from pipeline.workers import one_thread_each
from transforms.logs import log_reject
from transforms.network import NetworkUse, take_network_use
from transforms.objects import change_of, claimed_objects
from transforms.parquet import list_parts, read_rows
from transforms.records import Rejected, Settled, SummaryRow, TileRow, Window
from transforms.redaction import redact
from transforms.seam_rows import worst_seam
from transforms.storage import check_reachable, remove_tree
from transforms.tables import REJECTED, SUMMARY, TILES
from transforms.units import Keeper
from transforms.workplace import FOLDER as WORK
from transforms.workplace import Workplace, safe_name

WORKER_LOG = "_workers.log"
"""In the output folder: what Beam and its worker processes logged."""


def run(
    config: RunConfig,
    beam_flags: Sequence[str] = (),
    *,
    force: bool = False,
    only: Sequence[str] = (),
) -> int:
    """Run the main job; return its exit code.

    What an earlier, unfinished run has finished is not done again; with `force` all is, and with
    `only` the scenes of these names. Raises ValueError or OSError before anything is written if the
    run cannot be started, BrokenRunError if it breaks down.
    """
    if force and only:
        raise ValueError("force does all scenes again, only some of them: give one of the two")
    console = Console(stderr=True)
    options = beam_options(config.engine, beam_flags)
    check_engine(config.engine, options)
    check_places(config, options)
    check_reachable(config.output)
    take_network_use()
    inventory = take_inventory(config)
    if _is_done(inventory, force=force) and not only:
        return _nothing_to_do(config, console)
    plan = complete_plan(inventory, local=options.view_as(StandardOptions).runner == LOCAL_RUNNER)
    options = beam_options(plan.config.engine, beam_flags)
    console.print(describe(plan))
    attempt = uuid.uuid4().hex[:12]
    place = Workplace.of(config.output, attempt=attempt, settings=str(plan.manifest["work_id"]))
    say = partial(console.print, markup=False)
    with ended_by_signals(), leased(config.output, attempt, say=say) as lease:
        # Another run may have come to its end since we looked.
        if _is_done(plan, force=force) and not only:
            return _nothing_to_do(config, console)
        _forget(plan, place, force=force, only=only)
        known = [] if force else manifest.published_mosaics(config.output)
        assembled = find_assembled(plan, place, known) - set(only)
        keeper = Keeper(place, config.mosaic.write, assembled)
        begun = manifest.start(config.output, plan.manifest, attempt=attempt)
        try:
            _warn(tell_of_start(config, begun), console)
            ended = _run(plan, keeper, options, lease, console, take_network_use())
        except BaseException as error:
            message = redact(f"{type(error).__name__}: {error}")
            if lease.is_held():  # else run.json is another run's
                _note_failure(config, message, console)
            if not isinstance(error, Exception):
                raise
            but = " without --force" if force else ""
            raise BrokenRunError(
                f"{message}\nTake nothing from {config.output} until its run.json says done. "
                f"{WORKER_LOG} there tells more; what was finished is kept, and the same command"
                f"{but} goes on from there"
            ) from error
        _wind_up(ended, plan, place, console)
        return int(ended["exit_code"])


def _note_failure(config: RunConfig, message: str, console: Console) -> None:
    """Write why a run failed, where that can be written: what comes next is the failure itself."""
    try:
        if manifest.read(config.output)["state"] != "running":
            return  # it was ended by a signal when all was done
        run = manifest.finish(config.output, exit_code=ExitCode.BROKEN, error=message)
    except (OSError, OutputError) as error:
        console.print(f"run.json still says that the run is at work: {error}", markup=False)
        return
    _warn(tell_of_end(config, run), console)


def _wind_up(ended: Manifest, plan: Plan, place: Workplace, console: Console) -> None:
    """Tidy up after a run that is published, and tell of it: no fault of that is one of the run."""
    try:
        tidy(place, plan.scenes)
    except OSError as error:
        _warn([f"{place.output / WORK} could not be tidied up: {error}"], console)
    _warn(tell_of_end(plan.config, ended), console)
    console.print(f"Written to {place.output}", markup=False)


def _warn(problems: Sequence[str], console: Console) -> None:
    for problem in problems:
        console.print(f"warning: {problem}", markup=False)


def _is_done(inventory: Inventory, *, force: bool) -> bool:
    """Say whether the output holds this very run, and raise unless this run may go there."""
    output, known = inventory.config.output, inventory.manifest
    state = manifest.check_output(output, known["run_id"], work_id=known["work_id"], force=force)
    return state == "done"


def _nothing_to_do(config: RunConfig, console: Console) -> ExitCode:
    console.print(f"{config.output} already holds this run: nothing to do", markup=False)
    return ExitCode.NOTHING_TO_DO


def _forget(plan: Plan, place: Workplace, *, force: bool, only: Sequence[str]) -> None:
    """Drop what is kept of all scenes (`force`), or of some, if all others are settled."""
    if force:
        remove_tree(place.units)
    if not only:
        return
    named = {scene.name: scene for scene in plan.scenes}
    unknown = sorted(set(only) - set(named))
    if unknown:
        raise ValueError(
            f"--only: the run has no scene {', '.join(unknown)}; it has {_some(named)}"
        )
    rejected = {row["key"] for row in read_rows(place.output, REJECTED, ("key",))}
    others = [w for w in plan.windows if w.scene.name not in only and w.key not in rejected]
    missing = len(others) - Tallier(place, others).read().windows
    if missing:
        raise ValueError(
            f"--only: {missing} windows of other scenes have no result: run without --only first"
        )
    for name in only:
        remove_tree(place.unit_folder(named[name]))


def _some(names: Iterable[str]) -> str:
    """Return the first names of many."""
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as an error would, so that it leaves nothing behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def replay(output: UPath, key: str, *, scenes: Sequence[str] = ()) -> int:
    """Process one window of an earlier run again, in this process, and say how it ends.

    `scenes` are read instead of those that run.json names: it holds no keys of URLs.
    Returns 0 if it is measured or empty, 3 if it is rejected again.
    """
    settings = manifest.read(output)["config"]
    if scenes:
        settings = {**settings, "input": {**settings["input"], "scenes": list(scenes)}}
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
        cores = Workplace.open(UPath(folder)) if plan.config.mosaic.write else None
        return list(settle_windows(plan, windows, Networks.of(plan), cores=cores))


def _run(
    plan: Plan,
    keeper: Keeper,
    options: PipelineOptions,
    lease: Lease,
    console: Console,
    planning: NetworkUse,
) -> Manifest:
    """Run the job, publish what it made, and return its manifest."""
    config, place = plan.config, keeper.place
    pipeline = beam.Pipeline(options=options)
    pipeline | "DetectionGain" >> DetectionGain(plan, keeper)
    form = log_form(config.observe, plan.run_id, place)
    with workers_log_to(config.output / WORKER_LOG, form) as terminal, one_thread_each():
        for reject in plan.rejected:
            log_reject(reject, config.output)
        result = _watch(pipeline, plan, place, lease, Console(file=terminal))
    counts = _count_settled(plan, place.staged)
    summary = [SummaryRow(**row) for row in read_rows(place.staged, SUMMARY)]
    exit_code = _judge(counts, summary, config, console)
    metrics = Metrics.of(result)
    lease.confirm()
    publish_tables(place)
    made = publish_rasters(place) | {safe_name(scene) for scene in keeper.assembled}
    mosaics = describe_mosaics(plan, place, made)
    parts, wall = list_parts(config.output), manifest.elapsed(config.output)
    lease.confirm()
    ended = manifest.finish(
        config.output,
        exit_code=exit_code,
        counts=counts,
        seconds=metrics.stage_seconds,
        pixels=plan.core_pixels,
        reads=describe_reads(metrics, planning),
        metrics=metrics.describe(workers=config.engine.parallelism, wall=wall),
        parts=parts,
        mosaics=mosaics,
    )
    console.print(results_table(summary))
    console.print(verdict(summary), markup=False)
    return ended


def _watch(
    pipeline: beam.Pipeline, plan: Plan, place: Workplace, lease: Lease, console: Console
) -> PipelineResult:
    """Run the pipeline while the bar moves and the lease is ours."""
    tallier = Tallier(place, plan.windows)
    unopened = len(plan.rejected)
    with ProgressBar(console, planned=plan.planned, unopened=unopened) as bar:

        def settled() -> int:
            tally = tallier.read()
            bar.show(tally)
            return tally.windows

        result = run_watched(
            pipeline,
            plan.config.engine,
            settled=settled,
            tick=lease.check,
            total=len(plan.windows),
        )
        with suppress(OSError):  # the bar alone wants to know it
            settled()
    return result


def _count_settled(plan: Plan, staged: UPath) -> Counts:
    """Count what was written, and fail unless every planned window is there exactly once."""
    tiles = list(read_rows(staged, TILES, ("key", "status")))
    # A scene without a mosaic is a reject too, under its name, but no planned window.
    scenes = {scene.name for scene in plan.scenes}
    keys = [row["key"] for row in read_rows(staged, REJECTED, ("key",))]
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


def _describe(row: TileRow) -> str:
    changes = Counter(change_of(*pair) for pair in claimed_objects(row).tolist())
    return f"{changes['kept']} objects kept, {changes['gained']} gained, {changes['lost']} lost"
