"""Which backend runs a detector fastest on one core, and how far each is from PyTorch.

    python -m benchmarks.detector_backends --json FILE --markdown FILE

Every backend has a process of one thread; they take turns on the same picture, in rounds, and what
is compared are the laps of the same round. Distances are between what PyTorch in float32 and a
backend make of rendered scenes, sharp and blurred: the raw cells whose score reaches the floor of a
run, and the detections at its operating point. Starts are those of new processes, up to the first
picture: once with an empty cache, where networks are converted, and once with what that left there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timed_scene import compute_alone
from configs.schema import DetectConfig
from models.backend_choice import DTYPES, Backend, Dtype
from models.detector import Detector
from models.shipped import resolve_weights
from pipeline.bench import describe
from pipeline.bench_networks import Field, installed_backends, measure_detector
from pipeline.machine import describe_machine
from pipeline.rounds import Spread
from pipeline.sheet import Sheet
from transforms.functional.blur import blur_tile
from transforms.functional.boxes import Detections, iou_matrix
from transforms.functional.render import render_scene

Images = NDArray[np.uint8]
Way = tuple[Backend, Dtype]

SIZES = (256, 384, 512, 768, 1024)
SAME = 0.9
"""Detections whose boxes overlap by so much (IoU) are the same object."""
START = """
import sys
from pathlib import Path
import numpy as np
from models.detector import Detector
detector = Detector.load(Path(sys.argv[1]), backend=sys.argv[2], dtype=sys.argv[3])
detector(np.zeros((1, 256, 256, 3), np.uint8))
"""


@dataclass(frozen=True)
class Distance:
    """How far a backend is from PyTorch in float32 on pictures of one side.

    `cells_px` and `cells_score` are the largest differences of raw cells, `boxes_px` and
    `boxes_score` those of detections that both have; `lost` and `gained` count the others.
    """

    backend: Backend
    dtype: Dtype
    side: int
    detections: int
    lost: int
    gained: int
    cells_px: float
    cells_score: float
    boxes_px: float
    boxes_score: float


@dataclass(frozen=True)
class Start:
    """Seconds until a new process has found objects, with an empty cache and with a full one."""

    backend: Backend
    dtype: Dtype
    first: float
    later: float


def make_scenes(side: int) -> Images:
    """Return two rendered scenes, sharp and blurred: uint8 (4, side, side, 3)."""
    sharp = [render_scene(seed=seed, height=side, width=side, gsd=0.15).image for seed in (1, 2)]
    return np.stack([*sharp, *(blur_tile(each, length=9.0, angle=30.0) for each in sharp)])


def ways_of(field: Field) -> list[Way]:
    """Return the backends of a field with the dtypes that each computes in."""
    ways = product(field.backends, field.dtypes)
    return [(backend, dtype) for backend, dtype in ways if dtype in DTYPES[backend]]


def measure_distances(weights: Path, ways: Sequence[Way], sizes: Sequence[int]) -> list[Distance]:
    """Compare every way to run a detector with PyTorch in float32, at every size."""
    exact = Detector.load(weights)
    others = {
        (backend, dtype): Detector.load(weights, backend=backend, dtype=dtype)
        for backend, dtype in ways
        if (backend, dtype) != ("torch", "float32")
    }
    scenes = [make_scenes(side) for side in sizes]
    return [
        measure_distance(exact, other, pictures, *way)
        for pictures in scenes
        for way, other in others.items()
    ]


def measure_distance(
    exact: Detector, other: Detector, pictures: Images, backend: Backend, dtype: Dtype
) -> Distance:
    """Compare what two detectors, which take pictures as they are, make of square pictures."""
    config = DetectConfig()
    cells, pairs = [], []
    for picture in pictures:
        a, b = (np.asarray(each.network.cells(picture[None])[0]) for each in (exact, other))
        counted = a[4 : 4 + len(exact.names)].max(axis=0) >= config.score_floor
        apart = np.abs(a - b)[:, counted]
        cells.append((_largest(apart[:4]), _largest(apart[4:])))
        found = [each(picture[None])[0] for each in (exact, other)]
        pairs.append([each.select(each.scores >= config.score_threshold) for each in found])
    compared = [compare_detections(*pair) for pair in pairs]
    pixels, scores = (max(column) for column in zip(*cells, strict=True))
    lost, gained, boxes_px, boxes_score = zip(*compared, strict=True)
    return Distance(
        backend=backend,
        dtype=dtype,
        side=pictures.shape[1],
        detections=sum(len(first) for first, _ in pairs),
        lost=sum(lost),
        gained=sum(gained),
        cells_px=pixels,
        cells_score=scores,
        boxes_px=max(boxes_px),
        boxes_score=max(boxes_score),
    )


def compare_detections(exact: Detections, other: Detections) -> tuple[int, int, float, float]:
    """Return how many only the one has, and only the other, and how far the same are apart.

    That is in px and in score: the largest difference, 0 where no two are the same.
    """
    overlaps = iou_matrix(exact.xyxy, other.xyxy)
    overlaps[exact.classes[:, None] != other.classes] = 0
    same = np.argwhere(overlaps > SAME)
    ours, theirs = same[:, 0], same[:, 1]
    lost, gained = len(exact) - len(np.unique(ours)), len(other) - len(np.unique(theirs))
    pixels = _largest(np.abs(exact.corners[ours] - other.corners[theirs]))
    return lost, gained, pixels, _largest(np.abs(exact.scores[ours] - other.scores[theirs]))


def measure_start(weights: Path, backend: Backend, dtype: Dtype) -> Start:
    """Start two processes, one after the other, that share a cache which is empty at first."""
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-start-") as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1"}
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            command = [sys.executable, "-c", START, str(weights), backend, dtype]
            subprocess.run(command, env=environment, check=True)
            seconds.append(time.perf_counter() - start)
    return Start(backend, dtype, *seconds)


def speed_sheet(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Return the table of speeds, from the rows of `measure_detector`."""
    columns = ("side, px", "backend", "ms a picture", "MPix/s", "CPU s/MPix", "times PyTorch")
    sheet = Sheet("Speed on one core", columns, names=2)
    for row in rows:
        speed = row["mpix_per_second"]
        sheet.add(
            str(row["side"]),
            f"{row['backend']} {row['dtype']}",
            f"{row['side'] ** 2 / 1e3 / speed:.1f}",
            f"{speed:.2f}",
            f"{row['cpu_seconds_per_mpix']:.3f}",
            str(Spread(**row["ratio"])),
        )
    return sheet


def distance_sheet(distances: Sequence[Distance]) -> Sheet:
    """Return the table of distances."""
    columns = (
        *("side, px", "backend", "detections", "lost", "gained"),
        *("boxes, px", "box scores", "cells, px", "cell scores"),
    )
    sheet = Sheet("Distance to PyTorch in float32", columns, names=2)
    for each in distances:
        counts = (each.detections, each.lost, each.gained)
        sizes = (each.boxes_px, each.boxes_score, each.cells_px, each.cells_score)
        sheet.add(
            str(each.side),
            f"{each.backend} {each.dtype}",
            *map(str, counts),
            *(f"{size:.1e}" for size in sizes),
        )
    return sheet


def start_sheet(starts: Sequence[Start]) -> Sheet:
    """Return the table of starts."""
    sheet = Sheet("Start, s", ("backend", "empty cache", "full cache"))
    for each in starts:
        sheet.add(f"{each.backend} {each.dtype}", f"{each.first:.2f}", f"{each.later:.2f}")
    return sheet


def _largest(values: NDArray[Any]) -> float:
    return float(values.max(initial=0))


def main() -> None:
    """Measure, print the tables and write both files."""
    given = _parser().parse_args()
    compute_alone()
    weights, machine, field = resolve_weights(given.weights), describe_machine(), _field(given)
    ways = ways_of(field)
    starts = [measure_start(weights, *way) for way in ways]
    distances = measure_distances(weights, ways, field.sizes)
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-bench-") as folder:
        speeds = measure_detector(given.weights, field, Path(folder))
    sheets = [describe(machine), speed_sheet(speeds)]
    sheets += [distance_sheet(distances), start_sheet(starts)]
    text = "\n".join(sheet.for_page() for sheet in sheets)
    print(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8")
    if given.json:
        report = {"machine": asdict(machine), "field": asdict(field), "speeds": speeds}
        report |= {"distances": [asdict(each) for each in distances]}
        report |= {"starts": [asdict(each) for each in starts]}
        given.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _field(given: argparse.Namespace) -> Field:
    return Field(
        sizes=tuple(given.sizes),
        batches=(1,),
        backends=tuple(given.backends),
        dtypes=tuple(given.dtypes),
        processes=(1,),
        cores=1,
        rounds=given.rounds,
        seconds=given.seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="vehicles_yolo", help="a file, or a shipped name")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="multiples of 32")
    parser.add_argument("--backends", nargs="+", choices=DTYPES, default=installed_backends())
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="a lap takes about so long")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    main()
