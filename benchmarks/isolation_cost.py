"""What decoding in a process of its own costs: per tile, per header, and once.

    python benchmarks/isolation_cost.py [--side 5120] [--passes 3] [--headers 2000]

Tiles of the default size (1024 + 2 x 160 px) are read of scenes of several types and compressions,
each first here and then in a decoder, or the other way round, in turn, so that what else the
machine does meets both. The scenes are larger than GDAL's cache. Printed are the processor's
milliseconds per tile, of both processes together, and medians of the wall time.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import rasterio

from configs.operations import EngineConfig
from configs.schema import InputConfig, ReadConfig, RunConfig, Stretch
from transforms.isolated import IsolatedReader
from transforms.records import Scene, Window
from transforms.scene_reader import Reader, SceneReader
from transforms.scenes import plan_scenes, plan_windows

HERE = EngineConfig(read_seconds=None)
KINDS = (("uint8", "deflate"), ("uint8", "jpeg"), ("uint8", None), ("uint16", "deflate"))


def write_scene(path: Path, side: int, dtype: str, compress: str | None) -> None:
    """Write a scene of smooth noise, in blocks of 512 px."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(110, 30, (side // 4, side // 4, 3)).astype(np.float32)
    light = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    light += rng.normal(0, 2, light.shape).astype(np.float32)
    scale = 16 if dtype == "uint16" else 1
    bands = np.clip(np.rint(light * scale), 1, 254 * scale).astype(dtype).transpose(2, 0, 1)
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "photometric": "rgb"}
    if compress == "deflate":
        layout |= {"predictor": 2}
    if compress == "jpeg":
        layout |= {"photometric": "ycbcr", "interleave": "pixel"}
    profile = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": dtype}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.15, 0, 6e5, 0, -0.15, 5.8e6)}
    with rasterio.open(path, "w", compress=compress, **profile | place | layout) as dataset:
        dataset.write(bands)


def open_scenes(pattern: str, read: ReadConfig, engine: EngineConfig) -> list[Scene]:
    """Return the scenes of a glob."""
    config = RunConfig(input=InputConfig(scenes=(pattern,)), read=read, engine=engine)
    scenes, rejected = plan_scenes(config)
    assert not rejected, rejected
    return scenes


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Cost:
    """Wall times of reads, and what they cost the processors here."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor = 0.0

    def add(self, work: Callable[[], object]) -> None:
        """Do some work."""
        start = time.process_time()
        self.wall.append(seconds_of(work))
        self.processor += time.process_time() - start


def compare(windows: Sequence[Window], passes: int) -> tuple[Cost, Cost]:
    """Return what reading costs here, and with a decoder."""
    here, there = Cost(), Cost()
    with (
        closing(SceneReader(InputConfig())) as first,
        closing(IsolatedReader(InputConfig(), 60)) as second,
    ):
        readers: list[tuple[Reader, Cost]] = [(first, here), (second, there)]
        for reader, _ in readers:
            reader.read_window(windows[0])
        [child] = psutil.Process().children()
        before = child.cpu_times()
        for window in [*windows] * passes:
            for reader, cost in readers:
                cost.add(partial(reader.read_window, window))
            readers.reverse()
        after = child.cpu_times()
    there.processor += after.user + after.system - before.user - before.system
    return here, there


def print_tiles(folder: Path, side: int, passes: int) -> None:
    """Print the cost of a tile for each kind of scene."""
    print("                      processor ms           wall ms")
    print("scene              here  decoder  ratio    here  decoder")
    for dtype, compress in KINDS:
        path = folder / f"{dtype}_{compress}.tif"
        write_scene(path, side, dtype, compress)
        read = ReadConfig(stretch=None if dtype == "uint8" else Stretch(low=0, high=4080))
        [scene] = open_scenes(str(path), read, HERE)
        costs = compare(list(plan_windows(scene, read)), passes)
        one, two = (1e3 * cost.processor / len(cost.wall) for cost in costs)
        first, second = (1e3 * statistics.median(cost.wall) for cost in costs)
        print(
            f"{dtype:7}{compress or 'plain':8}{one:8.1f}{two:9.1f}{two / one:7.3f}"
            f"{first:8.1f}{second:9.1f}"
        )
        path.unlink()


def print_start(folder: Path) -> None:
    """Print what a decoder costs once."""
    path = folder / "small.tif"
    write_scene(path, 256, "uint8", None)
    [scene] = open_scenes(str(path), ReadConfig(), HERE)
    window = next(plan_windows(scene, ReadConfig()))
    with closing(IsolatedReader(InputConfig(), 60)) as reader:
        first = seconds_of(partial(reader.read_window, window))
        many = [seconds_of(partial(reader.nodata, scene)) for _ in range(500)]
        [child] = psutil.Process().children()
        memory = child.memory_full_info()
    print(f"start and first read {first:.2f} s; a call without pixels {1e6 * min(many):.0f} us")
    print(f"memory of a decoder {memory.rss / 2**20:.0f} MiB, {memory.uss / 2**20:.0f} its own")


def print_headers(folder: Path, count: int) -> None:
    """Print what planning of so many scenes costs."""
    write_scene(folder / "0.tif", 64, "uint8", None)
    content = (folder / "0.tif").read_bytes()
    for number in range(1, count):
        (folder / f"{number}.tif").write_bytes(content)
    for name, engine in [("here", HERE), ("decoders", EngineConfig()), ("here", HERE)]:
        start = used()
        wall = seconds_of(partial(open_scenes, f"{folder}/*.tif", ReadConfig(), engine))
        print(f"{count} headers, {name}: {wall:.1f} s, of the processor {used() - start:.1f} s")


def used() -> float:
    """Return the processor's seconds of this process and those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=5120)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--headers", type=int, default=2000)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        print_start(Path(folder))
        print_tiles(Path(folder), options.side, options.passes)
    with tempfile.TemporaryDirectory() as folder:
        print_headers(Path(folder), options.headers)


if __name__ == "__main__":
    main()
