"""What a GPU makes of whole jobs: their speed, how busy it is, and whether tables stay the same."""

import statistics
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from upath import UPath

from benchmarks.gpu_networks import Images, Row, compare_pictures
from benchmarks.timed_scene import evaluation, production, write_scene
from configs.schema import RunConfig
from models.cards import shipped_weights
from models.deblurrer import Deblurrer
from pipeline import manifest
from pipeline.run import run
from transforms.functional.boxes import iou_matrix
from transforms.functional.windows import Rectangle
from transforms.inference import map_pending
from transforms.records import Scene, Tile, Window

SAME_BOX = 0.9
METRICS = ("recall", "precision", "ap50", "psnr", "ssim")


def measure_production(
    folder: Path, device: str, dtypes: Sequence[str], **size: int
) -> Iterator[Row]:
    """Yield nightly runs on the device, twice each: the first one loads libraries, too.

    `size` are `tiles`, `core` and `halo`.
    """
    for dtype in dtypes:
        given = _given(dtype, **size)
        scene, _ = write_scene(folder / "large", given)
        for number in (1, 2):
            name = f"production_{dtype}_{number}"
            yield run_job(_on(production(scene, given), device), folder / name)


def compare_with_cpu(folder: Path, device: str, **size: int) -> Iterator[Row]:
    """Yield an evaluation on a CPU and on the device, and how far its tables are the same."""
    given = _given("float32", **size)
    scene, labels = write_scene(folder / "small", given)
    config = evaluation(scene, labels, given)
    yield run_job(_on(config, "cpu"), folder / "evaluation_cpu")
    row = run_job(_on(config, device), folder / "evaluation")
    yield row | compare_jobs(folder / "evaluation", folder / "evaluation_cpu")


def _given(dtype: str, **size: int) -> Namespace:
    return Namespace(backend="torch", dtype=dtype, weights="deblur_dsc", **size)


def _on(config: RunConfig, device: str) -> RunConfig:
    deblur = config.deblur.model_copy(update={"device": device})
    detect = config.detect.model_copy(update={"device": device})
    return config.model_copy(update={"deblur": deblur, "detect": detect})


def run_job(config: RunConfig, output: Path) -> Row:
    """Run a job in this process; return its speed, where time went and how busy the GPU was."""
    with watched_gpu(config.deblur.device) as busy:
        code = run(config.model_copy(update={"output": UPath(output)}))
    if code:
        raise RuntimeError(f"the job {output.name} ended with {code}")
    written = manifest.read(UPath(output))
    seconds = written["wall_seconds"]
    return {
        "job": output.name,
        "seconds": seconds,
        "mpix_per_second": written["mpix"] / seconds,
        "stage_seconds": written["stage_seconds"],
        "batch": written["config"]["engine"]["batch_size"],
        "gpu_busy_by_events": written["metrics"]["gpu_busy"],
        "gpu_busy_percent": statistics.mean(busy) if busy else None,
        **read_metrics(output),
    }


@contextmanager
def watched_gpu(device: str) -> Iterator[list[int]]:
    """Collect how busy a GPU is while the block runs, in per cent, every 50 ms.

    That is what its driver says (NVML, needs nvidia-ml-py); nothing without it, or on a CPU.
    """
    busy: list[int] = []
    done = threading.Event()
    ask = _utilisation(device)

    def watch() -> None:
        while ask is not None and not done.wait(0.05):
            busy.append(ask())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield busy
    finally:
        done.set()
        watcher.join()


def _utilisation(device: str) -> Callable[[], int] | None:
    if device == "cpu":
        return None
    try:
        torch.cuda.utilization(device)
    except ModuleNotFoundError:
        return None
    return lambda: torch.cuda.utilization(device)


def read_metrics(output: Path) -> dict[str, float]:
    """Return the numbers of a run over all of its tiles, by metric and arm."""
    rows = pq.read_table(str(output / "summary")).to_pylist()
    return {
        f"{row['metric']}_{row['arm']}": row["value"]
        for row in rows
        if row["stratum"] == "all" and row["metric"] in METRICS and row["value"] is not None
    }


def compare_jobs(output: Path, expected: Path) -> dict[str, float]:
    """Return how many detections of two runs are the same, and the largest difference in score.

    The same are boxes of one arm with an IoU of at least `SAME_BOX`; counted among all of both.
    """
    by_arm = [read_boxes(expected), read_boxes(output)]
    same, total, largest = 0, 0, 0.0
    for arm, (boxes, scores) in by_arm[0].items():
        others, their_scores = by_arm[1].get(arm, (boxes[:0], scores[:0]))
        total += len(boxes) + len(others)
        if not len(boxes) or not len(others):
            continue
        overlaps = iou_matrix(boxes, others)
        found = overlaps.max(axis=1) >= SAME_BOX
        same += int(found.sum()) + int((overlaps.max(axis=0) >= SAME_BOX).sum())
        differences = np.abs(scores - their_scores[overlaps.argmax(axis=1)])[found]
        largest = max(largest, float(differences.max(initial=0)))
    share = same / total if total else 1.0
    return {"detections": total, "same_share": share, "largest_score_difference": largest}


def read_boxes(output: Path) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return the boxes (k, 4) and scores (k,) of each arm of a run."""
    rows = pq.read_table(str(output / "detections")).to_pylist()
    arms = {row["arm"]: [each for each in rows if each["arm"] == row["arm"]] for row in rows}
    return {
        arm: (
            np.array([[row[side] for side in ("x0", "y0", "x1", "y1")] for row in of], np.float32),
            np.array([row["score"] for row in of], np.float32),
        )
        for arm, of in arms.items()
    }


def fill_memory(picture: Images, count: int, device: str) -> Row:
    """Deblur so many tiles of a picture at once that a GPU's memory is full; say what was tried.

    `batches` are the sizes tried, in order, and `failures` the messages of those that failed.
    """
    network = Deblurrer.load(shipped_weights()["deblur_dsc"], device=device)
    batches: list[int] = []
    failures: list[str] = []

    def deblur(tiles: Sequence[Tile]) -> list[Images]:
        batches.append(len(tiles))
        try:
            return [*network(np.stack([tile.before for tile in tiles]))]
        except RuntimeError as error:
            failures.append(str(error).splitlines()[0])
            raise

    outcomes: list[Any] = map_pending(
        [_as_tile(picture)] * count, deblur, stage="deblur", tile_of=lambda tile: tile
    )
    restored = np.stack([outcome for outcome in outcomes if isinstance(outcome, np.ndarray)])
    found = {"tiles": count, "restored": len(restored), "batches": batches, "failures": failures}
    return found | compare_pictures(restored, network(picture[None]))


def _as_tile(picture: Images) -> Tile:
    height, width = picture.shape[:2]
    everything = Rectangle(0, 0, width, height)
    scene = Scene("full", "full", height, width, (1, 2, 3), "uint8", None, (1, 0, 0, 0, -1, 0))
    valid = np.ones((height, width), bool)
    return Tile(Window(scene, everything, everything, None), picture, None, valid, None, valid)
