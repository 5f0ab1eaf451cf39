"""Memory stays flat in the size of the scene."""

import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
from scenes import CRS, transform_of

ALLOWED_GROWTH = 300 * 2**20
"""Bytes that a run over sixteen times the pixels may need more."""

# A run in a process of its own, with networks that do nothing: what is left is the job itself.
PROGRAM = """
import re, sys
import pipeline.planning, transforms.deblur, transforms.detect
from configs.schema import RunConfig
from pipeline.run import run
from transforms.functional.boxes import Detections

def peak_memory():
    # Not by getrusage: its number is handed on from the process that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

class Nothing:
    names = ("vehicle",)
    def __call__(self, images):
        return [Detections.empty() for _ in images]

def keep(images):
    return images

for module in (pipeline.planning, transforms.deblur):
    module.load_deblurrer = lambda config: keep
for module in (pipeline.planning, transforms.detect):
    module.load_detector = lambda config: Nothing()

scene, output, core = sys.argv[1:]
config = {"read": {"core": int(core)}, "engine": {"workers": 1}, "output": output}
code = run(RunConfig(input={"scenes": [scene]}, **config))
print(int(peak_memory() * 2**20))
sys.exit(code)
"""


def sparse_scene(path: Path, side: int) -> Path:
    """Write a square RGB scene of which no block is stored: it reads as zeros."""
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": side, "width": side}
    place = {"crs": CRS, "transform": transform_of()}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "sparse_ok": True}
    with rasterio.open(path, "w", photometric="rgb", **profile, **place, **layout):
        pass
    return path


def peak_memory(scene: Path, output: Path, core: int) -> int:
    """Return the largest resident size of a run over a scene, in bytes."""
    command = [sys.executable, "-c", PROGRAM, str(scene), str(output), str(core)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return int(finished.stdout.split()[-1])


@pytest.mark.slow
def test_sixteen_times_the_pixels_need_no_more_memory(tmp_path):
    core = 1024
    small = peak_memory(sparse_scene(tmp_path / "small.tif", 5_000), tmp_path / "a", core)
    large = peak_memory(sparse_scene(tmp_path / "large.tif", 20_000), tmp_path / "b", core)
    print(f"peak memory: {small / 2**20:.0f} MiB at 5,000 px, {large / 2**20:.0f} at 20,000 px")
    assert large - small < ALLOWED_GROWTH
