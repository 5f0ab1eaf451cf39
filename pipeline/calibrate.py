"""The command `calibrate`: the score threshold of a detector, from a sharp labelled set."""

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from configs.edit import set_number
from configs.load import load_yaml, override, validate
from configs.schema import RunConfig
from pipeline.manifest import ExitCode
from pipeline.sharp_set import SharpSet, search
from transforms.functional.operating_point import Target
from transforms.outcomes import Estimate, choose_threshold, collect_outcomes, estimate
from transforms.reconcile import reconcile
from transforms.records import Settled, TileRow

SECTION, KEY = "detect", "score_threshold"


def calibrate(config: RunConfig, target: Target, *, write: Path | None = None) -> int:
    """Choose the lowest threshold that attains the target, and print it or write it into a YAML.

    The scenes of the config are searched as they are. Returns the exit code. Raises ValueError or
    OSError if labels, scenes or files are not as wanted, or if no threshold attains the target;
    nothing is written then.
    """
    console = Console(stderr=True)
    if write is not None:
        _edit(write, config.detect.score_floor, "calibrated: tried")
    if config.read.blur.lengths or config.read.blur.severities:
        console.print("read.blur is left out: a threshold is chosen on the scenes as they are")
    sharp = SharpSet.open(config)
    if target.metric == "false_per_km2":
        sharp.check_ground()
    rows = _search_all(sharp, console)
    if not _enough_measured(rows, config.max_rejected, console):
        return ExitCode.TOO_MANY_REJECTS
    threshold, numbers = choose(sharp, rows, target)
    Console().print(describe(numbers, target, sharp))
    if numbers["precision"].n == numbers["score_threshold"].n:
        console.print("every detection is kept: with a lower detect.score_floor there may be more")
    comment = provenance(target, sharp)
    if write is None:
        print(f"# {comment}\n{SECTION}: {{{KEY}: {threshold}}}")
        return ExitCode.OK
    _replace(write, _edit(write, threshold, comment))
    console.print(f"{write}: {SECTION}.{KEY} is now {threshold}", markup=False)
    return ExitCode.OK


def choose(
    sharp: SharpSet, rows: list[Settled], target: Target
) -> tuple[float, Mapping[str, Estimate]]:
    """Return the threshold, and what it gives on the set, from the settled windows."""
    config = sharp.config
    outcomes, clusters = collect_outcomes(
        [row for row in rows if isinstance(row, TileRow)],
        sharp.clusters,
        arm="before",
        classes=len(sharp.names),
    )
    threshold = choose_threshold(outcomes, target, floor=config.detect.score_floor)
    return threshold, estimate(
        outcomes, clusters, threshold=threshold, target=target, config=config.measure.interval
    )


def describe(numbers: Mapping[str, Estimate], target: Target, sharp: SharpSet) -> Table:
    """Return the numbers of a calibration, for people."""
    title = f"Lowest score threshold with {_describe_target(target)}, {sharp.detector.name}"
    # As Text: rich would take a word in square brackets of a name for markup and drop it.
    table = Table(title=Text(title), title_justify="left")
    for column in ("number", "value", "95 % interval", "n", "clusters"):
        table.add_column(column, justify="left" if column == "number" else "right")
    shown = {"average_precision": f"ap{round(100 * sharp.config.measure.iou)}"}
    for name, number in numbers.items():
        ends = number.interval
        table.add_row(
            shown.get(name, name).replace("_", " "),
            f"{number.value:.4g}",
            "-" if ends is None else f"{ends.low:.4g} to {ends.high:.4g}",
            str(number.n),
            str(number.clusters),
        )
    return table


def provenance(target: Target, sharp: SharpSet) -> str:
    """Return where a threshold comes from, in one line that names no place and no time."""
    weights = f"{sharp.detector.name} {sharp.detector.sha256[:12]}"
    return f"calibrated: {_describe_target(target)} of {weights} on the set {sharp.digest[:12]}"


def _describe_target(target: Target) -> str:
    sign = ">=" if target.metric == "precision" else "<="
    return f"{target.metric} {sign} {target.value:g}"


def _search_all(sharp: SharpSet, console: Console) -> list[Settled]:
    windows = track(sharp.windows, "windows", console=console)
    return reconcile([*search(sharp, windows), *sharp.rejected], sharp.ruler.border)


def _enough_measured(rows: list[Settled], allowed: float, console: Console) -> bool:
    """Name what was rejected, and say whether that is no more than a run may reject."""
    rejected = [row for row in rows if not isinstance(row, TileRow)]
    for row in rejected:
        console.print(f"{row.key} rejected at {row.stage}: {row.message}", markup=False)
    if len(rejected) <= allowed * len(rows):
        return True
    console.print(
        f"{len(rejected)} of {len(rows)} windows were rejected, more than the allowed "
        f"{100 * allowed:g} %: no threshold is chosen"
    )
    return False


def _edit(path: Path, threshold: float, comment: str) -> str:
    """Return the text of a config with another threshold, if that makes a valid config."""
    content = override(load_yaml(path), [f"{SECTION}.{KEY}={threshold}"])
    validate(RunConfig, content, source=str(path))
    text = path.read_bytes().decode("utf-8")
    return set_number(text, SECTION, KEY, threshold, comment=comment)


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step, so that nobody ever reads half of one."""
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(text.encode("utf-8"))
    os.replace(temporary, path)
