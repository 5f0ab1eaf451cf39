"""Peak memory of the whole job, with mosaic, over scenes of growing size.

    python benchmarks/scene_memory.py 5000 20000 50000

Each side (px) runs in a process of its own, with networks that do nothing: what is left is the job
itself. The scene is a VRT that repeats one textured GeoTIFF, so that it needs no space; cores and
mosaic do need it (about 10 GB for 50,000 px), below the folder that --folder names.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import rasterio

CELL = 2500
"""Side of the picture that is repeated, in px."""

PROGRAM = """
import json, re, sys, time
import pipeline.planning, transforms.deblur, transforms.detect
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.run import run
from transforms.functional.boxes import Detections

def peak_memory():
    # Not by getrusage: its number is handed on from the process that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

class Nothing:
    names = ("vehicle",)
    def __call__(self, images):
        return [Detections.empty() for _ in images]

for module in (pipeline.planning, transforms.deblur):
    module.load_deblurrer = lambda config: lambda images: images
for module in (pipeline.planning, transforms.detect):
    module.load_detector = lambda config: Nothing()

scene, output = sys.argv[1:]
idle = peak_memory()
started = time.perf_counter()
config = RunConfig(
    input={"scenes": [scene]},
    arms={"controls": []},
    measure={"stability": 0, "interval": {"replicates": 0}},
    mosaic={"write": True, "compress": "zstd"},
    engine={"workers": 1},
    output=output,
)
code = run(config)
known = manifest.read(config.output)
print(json.dumps({
    "code": int(code),
    "seconds": time.perf_counter() - started,
    "idle_mib": idle,
    "peak_mib": peak_memory(),
    "stages": known["stage_seconds"],
    "mosaic_mib": known["mosaics"][0]["size"] / 2**20,
    "tiles": known["counts"]["measured"],
}))
"""


def write_cell(path: Path) -> None:
    """Write a textured RGB picture of CELL x CELL px."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(120, 40, (CELL // 20, CELL // 20, 3)).astype(np.float32)
    image = cv2.resize(coarse, (CELL, CELL), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 3, image.shape)
    bands = np.clip(np.rint(image), 1, 254).astype(np.uint8).transpose(2, 0, 1)
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd"}
    size = {"height": CELL, "width": CELL, "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.15, 0, 6e5, 0, -0.15, 5.8e6)}
    profile = {"driver": "GTiff", "photometric": "rgb", **layout, **size, **place}
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)


def write_scene(folder: Path, side: int) -> Path:
    """Write a VRT of side x side px that repeats the cell, in EPSG:32632 at 15 cm."""
    write_cell(folder / "cell.tif")
    bands = ""
    for number, colour in enumerate(("Red", "Green", "Blue"), start=1):
        sources = "".join(
            '<SimpleSource><SourceFilename relativeToVRT="1">cell.tif</SourceFilename>'
            f"<SourceBand>{number}</SourceBand>"
            f'<SourceProperties RasterXSize="{CELL}" RasterYSize="{CELL}" DataType="Byte" '
            'BlockXSize="512" BlockYSize="512"/>'
            f'<SrcRect xOff="0" yOff="0" xSize="{CELL}" ySize="{CELL}"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="{CELL}" ySize="{CELL}"/></SimpleSource>'
            for row in range(0, side, CELL)
            for col in range(0, side, CELL)
        )
        bands += (
            f'<VRTRasterBand dataType="Byte" band="{number}">'
            f"<ColorInterp>{colour}</ColorInterp>{sources}</VRTRasterBand>"
        )
    place = "<SRS>EPSG:32632</SRS><GeoTransform>600000,0.15,0,5800000,0,-0.15</GeoTransform>"
    path = folder / "scene.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{place}{bands}</VRTDataset>'
    )
    return path


def measure(side: int, folder: Path) -> dict:
    """Run the job over a scene of that size and return what it needed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scene = write_scene(folder, side)
    command = [sys.executable, "-c", PROGRAM, str(scene), str(folder / "run")]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    shutil.rmtree(folder)
    return {"side": side, **json.loads(finished.stdout.splitlines()[-1])}


def main() -> None:
    """Measure every side that is named, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", type=int, nargs="+", metavar="SIDE")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "scene_memory")
    options = parser.parse_args()
    print("| side, px | tiles | peak, MiB | without a scene, MiB | seconds | mosaic, MiB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for side in options.sides:
        got = measure(side, options.folder)
        print(
            f"| {side:,} | {got['tiles']:,} | {got['peak_mib']:.0f} | {got['idle_mib']:.0f} "
            f"| {got['seconds']:.0f} | {got['mosaic_mib']:.0f} |",
            flush=True,
        )
        print(f"exit code {got['code']}; seconds by stage: {got['stages']}", file=sys.stderr)


if __name__ == "__main__":
    main()
