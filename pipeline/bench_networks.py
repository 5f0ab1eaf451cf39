"""How fast networks are alone: in processes of their own, compared by rounds."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.backend_choice import DTYPES, Backend, Dtype
from models.cpu_runtimes import QUANTIZED
from models.eager import save_random_generator
from models.shipped import resolve_weights
from pipeline.bench_process import EAGER, Task
from pipeline.bench_team import Team
from pipeline.rounds import Lap, Spread, compare, fastest, run_rounds, speed_of
from pipeline.sheet import Sheet
from transforms.functional.blur import blur_tile
from transforms.functional.quality import RANGE
from transforms.functional.render import render_scene

Images = NDArray[np.uint8]
Row = dict[str, Any]

PUBLISHED = "published_mobilenet"
"""Names random weights of the generator whose published weights may not be shipped."""


@dataclass(frozen=True)
class Field:
    """What is compared: pictures by side (px) and number per call, backends, dtypes, processes.

    Ours run on one thread a process, as in a job; the baseline also in one process on `cores`
    threads, and its faster way counts. A lap takes about `seconds`.
    """

    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    backends: tuple[Backend, ...]
    dtypes: tuple[Dtype, ...]
    processes: tuple[int, ...]
    cores: int
    rounds: int
    seconds: float
    device: str = "cpu"


def installed_backends() -> tuple[Backend, ...]:
    """Return the backends whose packages are installed."""
    return tuple(name for name in DTYPES if find_spec(name) is not None)


def find_generator(name: str, folder: Path) -> Path:
    """Return the file of a deblurrer; random weights of the published one are made in a folder.

    So is their 8-bit network, where NNCF is installed.
    """
    if name != PUBLISHED:
        return resolve_weights(name)
    path = folder / f"{PUBLISHED}.safetensors"
    if not path.exists():
        save_random_generator(path)
        if find_spec("nncf"):
            from models.quantize import quantize_generator

            pictures = [make_pictures(256, 1)[0]]
            path.with_suffix(QUANTIZED).write_bytes(quantize_generator(path, pictures))
    return path


def runnable(name: str, folder: Path) -> str:
    """Return what a run must be told to use a deblurrer."""
    return str(find_generator(name, folder)) if name == PUBLISHED else name


def measure_generator(name: str, field: Field, folder: Path) -> list[Row]:
    """Return a row per way to run a deblurrer, the baseline's first, for each size and batch.

    `psnr_db` and `largest_difference` (grey levels) compare what it makes of a picture with what
    the baseline makes of it; None are equal pictures.
    """
    weights = str(find_generator(name, folder))
    baseline = Task("deblur", weights, EAGER, device=field.device)
    splits = dict.fromkeys([(1, field.cores), (field.cores, 1)])
    return _measure(name, baseline, list(splits), field, folder)


def measure_detector(name: str, field: Field, folder: Path) -> list[Row]:
    """Return a row per way to run a detector, PyTorch's first, for each size and batch.

    Detectors have no int8.
    """
    field = replace(field, dtypes=tuple(dtype for dtype in field.dtypes if dtype != "int8"))
    baseline = Task("detect", str(resolve_weights(name)), "torch", device=field.device)
    return _measure(name, baseline, [(field.cores, 1)], field, folder)


def make_pictures(side: int, count: int) -> Images:
    """Return different blurred pictures of a rendered scene, uint8 (count, side, side, 3)."""
    sharp = render_scene(seed=3, height=side, width=side, gsd=0.15).image
    blurred = blur_tile(sharp, length=11.0, angle=30.0, noise=0.001)
    return np.stack([np.roll(blurred, 32 * number, axis=1) for number in range(count)])


def describe_networks(rows: Sequence[Row]) -> list[Sheet]:
    """Return a table for each network, size and batch."""
    columns = (
        *("backend", "p x t", "MPix/s", "times the baseline", "CPU s/MPix", "cores busy"),
        *("PSNR, dB", "max, DN"),
    )
    sheets: dict[str, Sheet] = {}
    for row in rows:
        title = f"{row['weights']}, {row['side']} px, {row['batch']} at once"
        sheet = sheets.setdefault(title, Sheet(title, columns, names=2))
        sheet.add(
            f"{row['backend']} {row['dtype']}",
            f"{row['processes']} x {row['threads']}",
            f"{row['mpix_per_second']:.2f}",
            str(Spread(**row["ratio"])),
            f"{row['cpu_seconds_per_mpix']:.3f}",
            f"{row['cores_busy']:.2f}",
            _number(row.get("psnr_db"), ".1f"),
            _number(row.get("largest_difference"), ".0f"),
        )
    return list(sheets.values())


def _measure(
    name: str, baseline: Task, splits: Sequence[tuple[int, int]], field: Field, folder: Path
) -> list[Row]:
    with ExitStack() as stack:
        teams = [
            stack.enter_context(closing(Team(task, *split)))
            for task, split in _rivals(baseline, splits, field)
        ]
        rows = []
        for side, batch in product(field.sizes, field.batches):
            pictures = folder / "pictures.npy"
            np.save(pictures, make_pictures(side, batch))
            results = [folder / f"result_{number}.npy" for number in range(len(teams))]
            for team, result in zip(teams, results, strict=True):
                keep = result if team.task.kind == "deblur" else None
                mpix = batch * side * side / 1e6
                team.prepare(pictures, mpix=mpix, seconds=field.seconds, result=keep)
            laps = run_rounds({_key(team): team.lap for team in teams}, field.rounds)
            known = {"weights": name, "side": side, "batch": batch}
            base = fastest({_key(t): laps[_key(t)] for t in teams if t.task == baseline})
            for team, result in zip(teams, results, strict=True):
                row = known | _row(team, laps[_key(team)], laps[base])
                rows.append(row | (_distance(result, results[0]) if result.exists() else {}))
        return rows


def _rivals(
    baseline: Task, splits: Sequence[tuple[int, int]], field: Field
) -> Iterator[tuple[Task, tuple[int, int]]]:
    """Yield what is run, and in how many processes and threads: the baseline's ways first."""
    yield from ((baseline, split) for split in splits)
    for backend, dtype, processes in product(field.backends, field.dtypes, field.processes):
        if dtype not in DTYPES[backend] or not _can(backend, dtype):
            continue
        task = Task(baseline.kind, baseline.weights, backend, dtype, field.device)
        if (task, (processes, 1)) not in [(baseline, split) for split in splits]:
            yield task, (processes, 1)


def _can(backend: Backend, dtype: Dtype) -> bool:
    """Say whether this processor can, of what a backend has."""
    if (backend, dtype) != ("openvino", "bfloat16"):
        return True
    from models.openvino_runtime import has_bfloat16  # It may be missing.

    return has_bfloat16()


def _key(team: Team) -> str:
    return f"{team.task.backend} {team.task.dtype} {team.processes} x {team.threads}"


def _row(team: Team, laps: Sequence[Lap], baseline: Sequence[Lap]) -> Row:
    ratio = compare(laps, baseline)
    mpix = sum(lap.mpix for lap in laps)
    return {
        "backend": team.task.backend,
        "dtype": team.task.dtype,
        "processes": team.processes,
        "threads": team.threads,
        "mpix_per_second": speed_of(laps).median,
        "ratio": asdict(ratio),
        "cpu_seconds_per_mpix": sum(lap.cpu for lap in laps) / mpix,
        "cores_busy": sum(lap.cpu for lap in laps) / sum(lap.wall for lap in laps),
        "rounds": [asdict(lap) for lap in laps],
    }


def _distance(result: Path, expected: Path) -> Row:
    difference = np.load(result).astype(np.float64) - np.load(expected)
    squared = float(np.mean(difference**2))
    return {
        "psnr_db": 10 * math.log10(RANGE**2 / squared) if squared else None,
        "largest_difference": float(np.abs(difference).max()),
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
