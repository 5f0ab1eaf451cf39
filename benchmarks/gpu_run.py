"""What a GPU gives: speed of both networks, the main job beside a CPU's, and a memory that is full.

    python benchmarks/gpu_run.py --write gpu.json

Everything is rendered by us. The jobs run as users' jobs do; the CPU's is what the others are
compared with. How busy the GPU was is what its driver says (NVML), every 50 ms. Needs nvidia-ml-py.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from upath import UPath

from configs.load import find_config, load_yaml, override, validate
from configs.schema import RunConfig
from models.cards import shipped_weights
from models.deblurrer import Deblurrer, Dtype
from models.detector import Detector
from pipeline import manifest
from pipeline.demo import write_demo_scene
from pipeline.run import run
from transforms.functional.blur import blur_tile
from transforms.functional.boxes import iou_matrix
from transforms.functional.render import render_scene
from transforms.functional.windows import Rectangle
from transforms.inference import map_pending
from transforms.records import Scene, Tile, Window

Images = NDArray[np.uint8]

SIDE = 1344
"""Of a tile of the default size: a core of 1024 px with 160 px of halo."""
CORE = 512
"""Of the jobs, px: more windows than workers in a small scene."""
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "float16")
BATCHES = (1, 4, 16)
REPEATS = 3
SAME_BOX = 0.9
METRICS = ("recall", "precision", "ap50", "psnr", "ssim")


def make_tiles(count: int) -> Images:
    """Return different blurred pictures of one rendered scene, uint8 (count, SIDE, SIDE, 3)."""
    sharp = render_scene(seed=3, height=SIDE, width=SIDE, gsd=0.15).image
    blurred = blur_tile(sharp, length=11.0, angle=30.0, noise=0.001)
    return np.stack([np.roll(blurred, 32 * number, axis=1) for number in range(count)])


def measure_speed(network: Callable[[Images], object], tiles: Images) -> dict[str, float]:
    """Return the median MPix/s of a call, copies to and fro included, and the peak of memory."""
    network(tiles)
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        network(tiles)
        seconds.append(time.perf_counter() - start)
    mpix = tiles.shape[0] * tiles.shape[1] * tiles.shape[2] / 1e6
    return {
        "mpix_per_second": mpix / statistics.median(seconds),
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20,
    }


def measure_kernels(deblurrer: Deblurrer, tiles: Images) -> float:
    """Return the MPix/s of the generator alone, on pictures that lie on the GPU as floats."""
    pixels = torch.from_numpy(tiles).to(deblurrer.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    mixed = deblurrer.dtype != "float32"
    kind = getattr(torch, deblurrer.dtype) if mixed else torch.bfloat16
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.inference_mode(), torch.autocast("cuda", dtype=kind, enabled=mixed):
        deblurrer.generator(pixels)
        begin.record()
        for _ in range(REPEATS):
            deblurrer.generator(pixels)
        end.record()
    torch.cuda.synchronize()
    seconds = begin.elapsed_time(end) / 1e3 / REPEATS
    return tiles.shape[0] * tiles.shape[1] * tiles.shape[2] / 1e6 / seconds


def compare_pictures(restored: Images, expected: Images) -> dict[str, float]:
    """Return the differences in DN: the largest, the mean, and the share of values above 1."""
    found = np.abs(restored.astype(np.int16) - expected)
    return {
        "max_dn": int(found.max()),
        "mean_dn": float(found.mean()),
        "above_1_dn": float((found > 1).mean()),
    }


@contextmanager
def exact_float32(wanted: bool) -> Iterator[None]:
    """Without TF32, which PyTorch otherwise uses in the convolutions of float32 networks."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = not wanted
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def measure_deblurrers() -> Iterator[dict[str, Any]]:
    """Yield a row per network, dtype and batch; the largest batch also exact in float32."""
    tiles = make_tiles(max(BATCHES))
    cases = [(dtype, size, False) for dtype in DTYPES for size in BATCHES]
    for name in ("deblur_dsc", "deblur_mobilenet"):
        expected = Deblurrer.load(shipped_weights()[name])(tiles[:1])
        for dtype, size, exact in [*cases, ("float32", max(BATCHES), True)]:
            network = Deblurrer.load(shipped_weights()[name], device="cuda", dtype=dtype)
            with exact_float32(exact):
                yield {
                    "network": name,
                    "dtype": "float32, no TF32" if exact else dtype,
                    "batch": size,
                    **measure_speed(network, tiles[:size]),
                    "kernels_mpix_per_second": measure_kernels(network, tiles[:size]),
                    **compare_pictures(network(tiles[:size])[:1], expected),
                }


def measure_detector() -> Iterator[dict[str, Any]]:
    """Yield a row per batch."""
    tiles = make_tiles(max(BATCHES))
    network = Detector.load(shipped_weights()["vehicles_yolo"], device="cuda")
    for size in BATCHES:
        speed = measure_speed(network, tiles[:size])
        yield {"network": "vehicles_yolo", "dtype": "float32", "batch": size, **speed}


def fill_memory(count: int) -> dict[str, Any]:
    """Deblur so many tiles at once that the GPU's memory is full; return what was tried.

    `batches` are the sizes tried, in order, and `failures` the messages of those that failed.
    """
    torch.cuda.empty_cache()
    network = Deblurrer.load(shipped_weights()["deblur_dsc"], device="cuda")
    batches: list[int] = []
    failures: list[str] = []

    def deblur(tiles: Sequence[Tile]) -> list[Images]:
        batches.append(len(tiles))
        try:
            return [*network(np.stack([tile.before for tile in tiles]))]
        except RuntimeError as error:
            failures.append(str(error).splitlines()[0])
            raise

    [picture] = make_tiles(1)
    tile = _as_tile(picture)
    outcomes = map_pending([tile] * count, deblur, stage="deblur", tile_of=lambda tile: tile)
    restored = np.stack([outcome for outcome in outcomes if isinstance(outcome, np.ndarray)])
    return {
        "tiles": count,
        "restored": len(restored),
        "batches": batches,
        "failures": failures,
        **compare_pictures(restored, network(picture[None])),
    }


def _as_tile(picture: Images) -> Tile:
    height, width = picture.shape[:2]
    everything = Rectangle(0, 0, width, height)
    scene = Scene("full", "full", height, width, (1, 2, 3), "uint8", None, (1, 0, 0, 0, -1, 0))
    valid = np.ones((height, width), bool)
    return Tile(Window(scene, everything, everything, None), picture, None, valid, None, valid)


def run_job(folder: Path, size: int, name: str, *assignments: str) -> dict[str, Any]:
    """Run the main job on the demo scene, blurred by us; return its seconds and how busy it was."""
    scene, labels = write_demo_scene(folder / "scene", size=size)
    output = folder / name
    fixed = (f"output={output}", f"read.core={CORE}")
    content = override(load_yaml(find_config("demo")), [*fixed, *assignments])
    content["input"] |= {"scenes": [str(scene)], "labels": str(labels)}
    start = time.perf_counter()
    with watched_gpu() as busy:
        code = run(validate(RunConfig, content, source=name))
    if code:
        raise RuntimeError(f"the job {name} ended with {code}")
    written = manifest.read(UPath(output))
    return {
        "job": name,
        "seconds": time.perf_counter() - start,
        "stage_seconds": written["stage_seconds"],
        "mpix": written["mpix"],
        "gpu_busy": statistics.mean(busy),
        "gpu_busy_most": max(busy),
        **read_metrics(output),
    }


@contextmanager
def watched_gpu() -> Iterator[list[int]]:
    """Collect how busy the GPU is, in per cent, while the block runs."""
    busy, done = [torch.cuda.utilization()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            busy.append(torch.cuda.utilization())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield busy
    finally:
        done.set()
        watcher.join()


def read_metrics(output: Path) -> dict[str, float]:
    """Return the numbers of a run over all of its tiles, by metric and arm."""
    rows = pq.read_table(str(output / "summary")).to_pylist()
    return {
        f"{row['metric']}_{row['arm']}": row["value"]
        for row in rows
        if row["stratum"] == "all" and row["metric"] in METRICS
    }


def compare_jobs(output: Path, expected: Path) -> dict[str, float]:
    """Return how many detections of two runs are the same, and the largest difference in score.

    The same are boxes of one arm with an IoU of at least `SAME_BOX`; counted among all of both.
    """
    by_arm = [read_boxes(expected), read_boxes(output)]
    same, total, largest = 0, 0, 0.0
    for arm, (boxes, scores) in by_arm[0].items():
        others, their_scores = by_arm[1][arm]
        overlaps = iou_matrix(boxes, others)
        twins = overlaps.argmax(axis=1)
        found = overlaps.max(axis=1) >= SAME_BOX
        same += int(found.sum()) + int((overlaps.max(axis=0) >= SAME_BOX).sum())
        total += len(boxes) + len(others)
        largest = max(largest, float(np.abs(scores - their_scores[twins])[found].max()))
    return {"detections": total, "same_share": same / total, "largest_score_difference": largest}


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


def measure_jobs(folder: Path, size: int, workers: int) -> Iterator[dict[str, Any]]:
    """Yield a row for the CPU's job, and for the GPU's by dtype."""
    processes = f"engine.workers={workers}"
    yield run_job(folder, size, "cpu", processes)
    for dtype in ("float32", "bfloat16"):
        name = f"cuda_{dtype}"
        gpu = (f"deblur.dtype={dtype}", "deblur.device=cuda", "detect.device=cuda")
        row = run_job(folder, size, name, processes, *gpu)
        yield row | compare_jobs(folder / name, folder / "cpu")


def main() -> None:
    """Measure, print a line each, and write all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, required=True, help="a JSON file")
    parser.add_argument("--size", type=int, default=1536, help="of the demo scene, px")
    parser.add_argument("--workers", type=int, default=4, help="processes of a job")
    parser.add_argument("--full", type=int, default=256, help="tiles that exceed the memory")
    options = parser.parse_args()
    measured: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}

    def record(part: str, rows: Iterator[dict[str, Any]]) -> None:
        for row in rows:
            measured.setdefault(part, []).append(row)
            options.write.write_text(json.dumps(measured, indent=1), encoding="utf-8")
            print(part, {key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})

    record("networks", measure_deblurrers())
    record("networks", measure_detector())
    record("memory", iter([fill_memory(options.full)]))
    with tempfile.TemporaryDirectory() as work:
        record("jobs", measure_jobs(Path(work), options.size, options.workers))


if __name__ == "__main__":
    main()
