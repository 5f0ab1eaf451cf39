"""How much memory and time a mosaic takes: scenes of any size, deblurred cores of noise.

    python benchmarks/mosaic_memory.py --side 5000 20000

The scene is an RGB GeoTIFF of 8 bits with no block stored; every core was deblurred. Each size runs
in a process of its own. On disk 2.5 times the file's size in bytes is needed, 6 GB per gigapixel.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from upath import UPath

from configs.schema import RunConfig
from transforms.cores import encode_core
from transforms.functional.windows import plan_cores
from transforms.mosaic_status import Receipt
from transforms.records import Scene
from transforms.scene_mosaic import Mosaic, assemble_mosaic
from transforms.workplace import Workplace

PLACE = (0.1, 0.0, 600_000.0, 0.0, -0.1, 5_800_000.0)
CRS = "EPSG:32632"


def write_sparse(path: Path, side: int) -> Scene:
    """Write a square RGB scene of which no block is stored, and return it."""
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": side, "width": side}
    place = {"crs": CRS, "transform": rasterio.Affine(*PLACE), "photometric": "rgb"}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True}
    with rasterio.open(path, "w", bigtiff="if_safer", **profile, **place, **layout):
        pass
    return Scene(path.name, str(path), side, side, (1, 2, 3), "uint8", CRS, PLACE)


def write_noise(scene: Scene, config: RunConfig) -> list[Receipt]:
    """Write every core of a scene as deblurred: a ramp with noise, all alike."""
    core, work = config.read.core, Workplace.open(config.output)
    noise = np.random.default_rng(0).normal(0, 6, (3, core, core))
    pixels = (noise + np.linspace(50, 180, core)).clip(0, 255).astype(np.uint8)
    encoded: dict[tuple[int, int], bytes] = {}
    receipts = []
    for place in plan_cores(height=scene.height, width=scene.width, core=core):
        size = (place.height, place.width)
        if size not in encoded:
            encoded[size] = encode_core(pixels[:, : place.height, : place.width])
        path = work.core_path(scene, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded[size])
        receipts.append(Receipt(scene.name, (place.col_off, place.row_off), "deblurred"))
    return receipts


def peak_memory() -> float:
    """Return the largest resident size of this process so far, in MiB; Linux only.

    Not by getrusage: its number is handed on from the process that started this one.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise RuntimeError("the kernel tells no peak of memory")
    return int(found[1]) / 1024


def measure(side: int, folder: Path) -> dict[str, float]:
    """Assemble one mosaic in this process, and return its peak of memory, seconds, and bytes."""
    path = folder / "scene.tif"
    config = RunConfig(input={"scenes": [str(path)]}, output=UPath(folder / "run"))
    scene = write_sparse(path, side)
    receipts = write_noise(scene, config)
    before = peak_memory()
    start = time.perf_counter()
    mosaic = assemble_mosaic(scene, receipts, config, {}, Workplace.open(config.output))
    seconds = time.perf_counter() - start
    if not isinstance(mosaic, Mosaic):
        raise RuntimeError(mosaic.message)
    return {
        "side": side,
        "before_mib": before,
        "peak_mib": peak_memory(),
        "seconds": seconds,
        "seconds_per_gigapixel": seconds / (side * side / 1e9),
        "mosaic_mb": mosaic.data.size / 1e6,
    }


def measure_apart(side: int, folder: Path | None = None) -> dict[str, float]:
    """Do what `measure` does in a new process, in a temporary folder (below `folder`)."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="mosaic-") as work:
        command = [sys.executable, __file__, "--side", str(side), "--inside", work]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Print a line per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--folder", type=Path, help="where there is room; default: TMPDIR")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.side[0], options.inside)))
        return
    print("side    peak MiB  before  seconds  s/Gpix  mosaic MB")
    for side in options.side:
        got = measure_apart(side, options.folder)
        print(
            f"{side:<7} {got['peak_mib']:8.0f} {got['before_mib']:7.0f} {got['seconds']:8.1f} "
            f"{got['seconds_per_gigapixel']:7.0f} {got['mosaic_mb']:10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
