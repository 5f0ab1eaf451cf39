"""The job against what one would do by hand, end to end on the same pixels.

    python -m benchmarks.by_hand --tiles 16 --rounds 2 --json FILE --markdown FILE

By hand means: the scene lies there as PNG files of one core each, without halos. A script opens
each, restores it with the eager float32 generator (`models.eager`: as the published script does,
picture by picture, PyTorch on as many threads as it likes), and saves the result as PNG. Then
Ultralytics' own `YOLO(...).predict` runs on the folder of the tiles and on that of the results, at
the tiles' own size (by default it would shrink them to 640 px) and with the job's threshold.
Nothing is measured, joined or placed on the map.

The job is `aerial-deblur run` on the scene itself, local engine, two workers, settings of
production: no labels, no controls. It reads halos, estimates blur, checks every result, compares
detections and writes all of its tables.

Both use the same weights, and run as commands of their own, in turns. `steady` is the speed of what
a large scene adds to one of a single tile; `whole` counts starting too, on the large scene. MPix
are those of the scene.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio
from PIL import Image
from rich.console import Console

from configs.schema import DetectConfig
from models.shipped import resolve_weights
from pipeline.bench_run import production
from pipeline.demo import write_demo_scene
from pipeline.machine import describe_machine
from pipeline.rounds import Lap, compare, run_rounds, speed_of
from pipeline.sheet import Sheet

HAND, JOB = "by hand", "job"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DETECTOR = "vehicles_yolo"


def cut_tiles(scene: Path, core: int, folder: Path) -> Path:
    """Write the cores of a scene as PNG files into a new folder, and return it."""
    folder.mkdir()
    with rasterio.open(scene) as dataset:
        image = dataset.read().transpose(1, 2, 0)
    for row in range(0, image.shape[0], core):
        for column in range(0, image.shape[1], core):
            tile = np.ascontiguousarray(image[row : row + core, column : column + core])
            Image.fromarray(tile).save(folder / f"{row}_{column}.png")
    return folder


def write_pickle(path: Path) -> Path:
    """Write the shipped detector as Ultralytics wants it: a pickle, in half precision."""
    import torch

    from models.yolo import load_network

    network = load_network(resolve_weights(DETECTOR)).half()
    torch.save({"model": network, "train_args": {}, "epoch": -1}, path)
    return path


def process_by_hand(tiles: Path, results: Path, weights: str, detector: Path, core: int) -> None:
    """Do what the page above says; print how many objects were found before and after."""
    from models.eager import EagerDeblurrer
    from models.yolo import import_ultralytics

    restore = EagerDeblurrer(resolve_weights(weights))
    results.mkdir()
    for path in sorted(tiles.iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        Image.fromarray(restore(image[None])[0]).save(results / path.name)
    import_ultralytics()
    from ultralytics import YOLO

    found = {}
    limit = DetectConfig().score_threshold
    for arm, folder in (("before", tiles), ("after", results)):
        predicted = YOLO(detector).predict(
            source=str(folder), imgsz=core, conf=limit, device="cpu", stream=True, verbose=False
        )
        found[arm] = sum(len(each.boxes) for each in predicted)
    print(json.dumps(found))


class Contest:
    """Two scenes, of one tile and of many, and both ways to process them."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        """Render the scenes and cut the tiles."""
        self._folder, self._given = folder, given
        self._runs = 0
        side = math.isqrt(given.tiles - 1) + 1
        self.sides = {"small": given.core, "large": side * given.core}
        self._scenes = {
            name: write_demo_scene(folder / name, size=size)[0] for name, size in self.sides.items()
        }
        self._tiles = {
            name: cut_tiles(scene, given.core, folder / f"{name}_tiles")
            for name, scene in self._scenes.items()
        }
        self._detector = write_pickle(folder / "vehicles_yolo.pt")
        self.found: dict[str, dict[str, int]] = {}
        self.whole: dict[str, list[Lap]] = {HAND: [], JOB: []}

    def by_hand(self, name: str) -> Lap:
        """Process one of the scenes by hand."""
        command = [sys.executable, __file__, "--by-hand"]
        command += [str(self._tiles[name]), str(self._fresh()), str(self._detector)]
        command += ["--weights", self._given.weights, "--core", str(self._given.core)]
        # With so many threads as PyTorch and Ultralytics choose.
        free = {key: value for key, value in os.environ.items() if key not in THREADS}
        said, lap = self._timed(name, command, free)
        self.found[HAND] = json.loads(said.splitlines()[-1])
        return lap

    def job(self, name: str) -> Lap:
        """Process one of the scenes by the job."""
        given, output = self._given, self._fresh()
        settings = production(given.weights, self._scenes[name], output)
        settings["deblur"] |= {"backend": given.backend, "dtype": given.dtype}
        settings["detect"] = {"backend": given.backend}
        settings["read"] = {"core": given.core, "halo": given.halo}
        settings["engine"] = {"workers": given.workers}
        path = self._folder / "job.yaml"
        path.write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "pipeline", str(path)]
        _, lap = self._timed(name, command, os.environ)
        self.found[JOB] = count_detections(output)
        return lap

    def turn(self, way: str) -> Callable[[], Lap]:
        """Return what runs both scenes one way, and says what the large one added."""
        process = {HAND: self.by_hand, JOB: self.job}[way]

        def lap() -> Lap:
            small, large = process("small"), process("large")
            self.whole[way].append(large)
            return subtract(large, small)

        return lap

    def _fresh(self) -> Path:
        self._runs += 1
        return self._folder / f"out_{self._runs}"

    def _timed(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[str, Lap]:
        before, start = os.times(), time.perf_counter()
        ended = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False
        )
        wall, after = time.perf_counter() - start, os.times()
        if ended.returncode != 0:
            raise RuntimeError(f"{command} ended with {ended.returncode}:\n{ended.stderr}")
        cpu = after.children_user + after.children_system
        cpu -= before.children_user + before.children_system
        return ended.stdout, Lap(self.sides[name] ** 2 / 1e6, wall, cpu)


def subtract(large: Lap, small: Lap) -> Lap:
    """Return what a larger scene adds to a smaller one."""
    return Lap(large.mpix - small.mpix, large.wall - small.wall, large.cpu - small.cpu)


def count_detections(output: Path) -> dict[str, int]:
    """Return how many objects a run found, by arm."""
    arms = pq.read_table(str(output / "detections"), columns=["arm"])["arm"].to_pylist()
    return {arm: arms.count(arm) for arm in ("before", "after")}


def describe(title: str, spans: Mapping[str, Mapping[str, Sequence[Lap]]]) -> Sheet:
    """Return the table: MPix of the scene per second, and how many times as fast the job is."""
    sheet = Sheet(title, ("", HAND, JOB, "job / by hand"))
    for span, laps in spans.items():
        speeds = (str(speed_of(laps[way])) for way in (HAND, JOB))
        sheet.add(f"{span}, MPix/s", *speeds, str(compare(laps[JOB], laps[HAND])))
    return sheet


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Let both ways take turns; return laps and what was found."""
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-by-hand-") as name:
        contest = Contest(Path(name), given)
        contest.job("small")  # What is made once on a machine and kept is not of every night.
        steady = run_rounds({way: contest.turn(way) for way in (HAND, JOB)}, given.rounds)
        return {"spans": {"steady": steady, "whole": contest.whole}, "found": contest.found}


def main() -> int:
    """Measure, print the table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--by-hand", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tiles", type=int, default=16, help="at least so many")
    parser.add_argument("--core", type=int, default=1024, help="pixels")
    parser.add_argument("--halo", type=int, default=160, help="pixels, of the job")
    parser.add_argument("--weights", default="deblur_dsc")
    parser.add_argument("--backend", default="auto", help="of the job")
    parser.add_argument("--dtype", default="float32", help="of the job's deblurrer")
    parser.add_argument("--workers", type=int, default=2, help="of the job")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.by_hand:
        tiles, results, detector = given.by_hand
        process_by_hand(tiles, results, given.weights, detector, given.core)
        return 0
    machine = describe_machine()
    measured = measure(given)
    title = (
        f"The job against by hand: {given.tiles} tiles of {given.core} px, {given.weights}, "
        f"backend {given.backend}, {given.dtype}, {given.workers} workers"
    )
    sheet = describe(title, measured["spans"])
    Console().print(sheet.for_screen())
    Console().print(f"objects found on the large scene: {measured['found']}")
    if given.markdown:
        given.markdown.write_text(sheet.for_page(), encoding="utf-8")
    if given.json:
        spans = {
            span: {way: [asdict(lap) for lap in laps] for way, laps in both.items()}
            for span, both in measured["spans"].items()
        }
        content = {"machine": asdict(machine), "title": title, "spans": spans}
        content |= {"found": measured["found"]}
        given.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
