"""The history of runs: a Parquet file with one row per run, made of run.json and its tables."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from upath import UPath

from pipeline import manifest
from pipeline.manifest import ExitCode, Manifest
from pipeline.verdict import overall
from transforms.numbers import metric_prefix
from transforms.parquet import read_rows
from transforms.records import SummaryRow
from transforms.run_table import RUNS, runs_from_bytes, runs_to_bytes
from transforms.seam_rows import EXCESS
from transforms.shared_file import change_file, read_file
from transforms.storage import find_files
from transforms.tables import SUMMARY, TILES, Row


def collect_runs(outputs: Sequence[UPath], target: UPath) -> int:
    """Put the runs of some folders into a history; return the exit code.

    A run that the history has already is replaced. One that has not come to its end is left out,
    and said so. Raises ValueError or OSError, and writes nothing, if a folder holds no run.
    """
    console = Console(soft_wrap=True)
    found = {output: manifest.read(output) for output in outputs}
    ended = [output for output, run in found.items() if has_ended(run)]
    for output in found:
        if output not in ended:
            console.print(f"{output} has not come to its end: left out", markup=False)
    number = add_runs([run_row(output) for output in ended], target)
    console.print(f"{target}: {number} runs, {len(ended)} of them from here", markup=False)
    return ExitCode.OK


def record_run(output: UPath, target: UPath) -> None:
    """Put one run that came to its end, well or not, into a history."""
    add_runs([run_row(output)], target)


def add_runs(rows: Sequence[Row], target: UPath) -> int:
    """Add rows to a history, in place of those of the same runs; return how many it has then.

    Several processes may do that at the same time.
    """
    number = 0

    def merge(content: bytes | None) -> bytes:
        nonlocal number
        known = [] if content is None else _decode(content, target)
        merged = {_key(row): row for row in [*known, *rows]}
        number = len(merged)
        return runs_to_bytes(list(merged.values()))

    change_file(target, merge)
    return number


def read_history(place: UPath) -> list[Row]:
    """Return the runs of a history, or of the folders in a folder, in the order of their start.

    Raises ValueError if there are none: a name that is mistyped must not look like a first run.
    """
    content = read_file(place)
    if content is not None:
        rows = _decode(content, place)
    else:
        folders = [path.parent for path in find_files(place, f"*/{manifest.NAME}")]
        rows = [run_row(folder) for folder in folders if has_ended(manifest.read(folder))]
        if not folders:
            raise ValueError(
                f"a history is a file of runs (aerial-deblur history) or a folder with the folders "
                f"of runs, but {place} is neither"
            )
    return sorted(rows, key=_key)


def has_ended(run: Manifest) -> bool:
    """Say whether a run came to its end, well or not."""
    return run.get("finished") is not None and run["state"] != "running"


def run_row(output: UPath) -> Row:
    """Return the row of a run that came to its end."""
    return describe_run(manifest.read(output), output)


def describe_run(run: Manifest, output: UPath) -> Row:
    """Return the row of a run that came to its end, from its manifest and its tables."""
    counts = run.get("counts") or {}
    # A run that broke down has no numbers: what its folder holds may be of an earlier one.
    row = _described(run, output) | (_measured(output) if counts else {})
    row |= {
        name: counts.get(name)
        for name in ("planned", "measured", "empty", "rejected", "unmade_mosaics")
    }
    return {column.name: row.get(column.name) for column in RUNS.columns}


def _described(run: Manifest, output: UPath) -> Row:
    """Return what run.json says."""
    engine, sizes = run["config"]["engine"], [scene.get("size") for scene in run["inputs"]]
    counts, wall = run.get("counts") or {}, run["wall_seconds"]
    told = {name: run.get(name) for name in ("settings_id", "error", "state", "code_version")}
    metrics = run.get("metrics")
    resumed = metrics["tiles"].get("resumed", 0) if metrics else None
    # What an earlier attempt did took no time in this one.
    whole = counts and not resumed and wall > 0
    return told | {
        "run_id": run["run_id"],
        "started": run["started"],
        "finished": run["finished"],
        "output": str(output),
        "exit_code": run["exit_code"],
        "engine": engine.get("name", "local"),
        "workers": engine["workers"],
        "device": run["config"]["deblur"]["device"],
        "weights": [{"name": name, "sha256": sha} for name, sha in sorted(run["weights"].items())],
        "scenes": len(run["scenes"]),
        "input_bytes": None if None in sizes else sum(sizes),
        "resumed": resumed,
        "mpix": run["mpix"] if counts else None,
        "wall_seconds": wall,
        "speed": run["mpix"] / wall if whole else None,
    }


def _measured(output: UPath) -> Row:
    """Return what the tables of a run say, over everything."""
    truth, numbers = overall([SummaryRow(**row) for row in read_rows(output, SUMMARY)])
    prefix = metric_prefix(truth)

    def value(arm: str, metric: str, what: str = "value") -> Any:  # noqa: ANN401 - float or int
        row = numbers.get((arm, metric))
        return None if row is None else getattr(row, what)

    row = {"truth": truth, "seam_excess": value("after", EXCESS)}
    row |= {"blur_length": _blur_length(output)}
    if truth == "none":
        return row
    row["labels"] = value("before", f"{prefix}recall", "n")
    for metric in ("recall", "precision"):
        for arm in ("before", "after"):
            row[f"{metric}_{arm}"] = value(arm, f"{prefix}{metric}")
    for name, metric in (("recall_gain", f"{prefix}recall_gain"), ("psnr_gain", "psnr_gain")):
        row[name] = value("after", metric)
        row |= {f"{name}_{end}": value("after", metric, end) for end in ("low", "high")}
    return row


def _blur_length(output: UPath) -> float | None:
    lengths: Iterable[float | None] = (
        row["estimated_length"]
        for row in read_rows(output, TILES, ("estimated_length", "estimated_confidence"))
        if row["estimated_confidence"]
    )
    known = [length for length in lengths if length is not None]
    return median(known) if known else None


def _decode(content: bytes, place: UPath) -> list[Row]:
    try:
        return runs_from_bytes(content)
    except ValueError as error:
        raise ValueError(f"{place} is no history of runs: {error}") from error


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in RUNS.order)
