"""Memory of a long run: whether it is the same after 100 tiles and after 5,000.

    python -m benchmarks.long_run --tiles 5000 --json FILE --markdown FILE
    python -m benchmarks.long_run --tiles 1000 --backends openvino

The job is a whole one, local engine in one process with a decoder beside it, over a scene of so
many tiles of 128 px, with networks that only change levels and find a few boxes in every tile:
what is read, checked, measured and written is real. Networks are looked at by themselves: the
shipped ones of every backend restore and search 1,000 small pictures of a few shapes.

Resident sizes and their peaks are the operating system's, in MiB, of a process of its own. Growth
is from the hundredth tile to the last one: of the peak, and of what is resident, because loading
libraries may have raised the peak above both.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.scene_memory import write_scene
from pipeline.bench_networks import installed_backends
from pipeline.machine import describe_machine
from pipeline.sheet import Sheet
from transforms.functional.boxes import Detections, xyxy_to_corners

Images = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[1]
CORE, HALO = 128, 32
EARLY = 100
SHAPES = ((128, 128), (128, 160), (160, 128))
"""Of the small pictures, px: those at the borders of a scene differ from others."""
PICTURES = 1000


@dataclass(frozen=True)
class Growth:
    """What a process holds after its first tiles and after all of them, and its peak at the end.

    `decoder` is what decoders hold after all tiles, in MiB like all else.
    """

    what: str
    tiles: int
    early: "Held"
    late: "Held"
    end: float
    decoder: float


@dataclass(frozen=True)
class Held:
    """Memory of a process in MiB: now, and at most until now."""

    resident: float
    peak: float

    @staticmethod
    def now() -> "Held":
        """Look at this process.

        Not by getrusage: its peak is handed on from the process that started this one.
        """
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        sizes = dict(re.findall(r"(VmHWM|VmRSS):\s+(\d+)", status))
        return Held(int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024)


class Watch:
    """Counts tiles, and looks at the memory when enough of them are done."""

    def __init__(self) -> None:
        """Begin at none."""
        self._tiles, self._decoder = 0, 0.0
        self._early: Held | None = None
        self._late = Held.now()

    def count(self, tiles: int) -> None:
        """Count tiles that are done."""
        self._tiles += tiles
        self._late = Held.now()
        children = psutil.Process().children(recursive=True)
        self._decoder = sum(child.memory_info().rss for child in children) / 2**20
        if self._early is None and self._tiles >= EARLY:
            self._early = self._late

    def growth(self, what: str) -> Growth:
        """Return what was seen; to be asked for at the end."""
        early = self._early or self._late
        return Growth(what, self._tiles, early, self._late, Held.now().peak, self._decoder)


class Finder:
    """A detector that finds five objects in every picture."""

    names = ("vehicle",)

    def __call__(self, images: Images) -> list[Detections]:
        """Return detections for each picture."""
        steps = np.arange(1, 6, dtype=np.float32)[:, None] * 28
        boxes = xyxy_to_corners(np.concatenate([steps, steps, steps + 20, steps + 10], axis=1))
        scores = np.linspace(0.9, 0.6, 5, dtype=np.float32)
        return [Detections(boxes, scores, np.zeros(5, np.int32)) for _ in images]


def watch_job(scene: Path, output: Path) -> Growth:
    """Run the job over a scene in this process."""
    import pipeline.planning
    import transforms.deblur
    import transforms.detect
    from configs.schema import RunConfig
    from pipeline.run import run

    watch = Watch()

    def deblur(images: Images) -> Images:
        watch.count(len(images))
        return np.minimum(images, 254) + np.uint8(1)

    for module in (pipeline.planning, transforms.deblur):
        module.load_deblurrer = lambda config: deblur
    for module in (pipeline.planning, transforms.detect):
        module.load_detector = lambda config: Finder()
    config = RunConfig(
        input={"scenes": [str(scene)]},
        read={"core": CORE, "halo": HALO},
        arms={"controls": []},
        measure={"stability": 0, "interval": {"replicates": 0}},
        engine={"workers": 1},
        output=str(output),
    )
    code = run(config)
    if code != 0:
        raise RuntimeError(f"the run ended with {code}")
    return watch.growth("job")


def watch_networks(backend: str) -> Growth:
    """Restore and search small pictures with the shipped networks in this process."""
    from models.deblurrer import Deblurrer
    from models.detector import Detector
    from models.shipped import resolve_weights

    restore = Deblurrer.load(resolve_weights("deblur_dsc"), backend=backend)
    find = Detector.load(resolve_weights("vehicles_yolo"), backend=backend)
    rng, watch = np.random.default_rng(0), Watch()
    for number in range(PICTURES):
        shape = SHAPES[number % len(SHAPES)]
        find(restore(rng.integers(0, 256, (1, *shape, 3), np.uint8)))
        watch.count(1)
    return watch.growth(f"networks, {backend}")


def watch_apart(what: str, tiles: int) -> Growth:
    """Look at the job, or at the networks of a backend, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-long-run-") as name:
        folder, scene = Path(name), ""
        if what == "job":
            scene = str(write_scene(folder, (math.isqrt(tiles - 1) + 1) * CORE))
        command = [sys.executable, "-m", "benchmarks.long_run", "--apart", what, scene]
        command.append(str(folder / "run"))
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    known = json.loads(ended.stdout.splitlines()[-1])
    held = {name: Held(**known[name]) for name in ("early", "late")}
    return Growth(**known | held)


def describe(found: list[Growth]) -> Sheet:
    """Return the table."""
    columns = (
        *("", "tiles", f"peak after {EARLY}", "after all", "growth"),
        *(f"resident after {EARLY}", "after all", "growth", "peak at the end", "decoders"),
    )
    sheet = Sheet("Memory of long runs, MiB", columns)
    for each in found:
        early, late = each.early, each.late
        sizes = (
            *(early.peak, late.peak, late.peak - early.peak),
            *(early.resident, late.resident, late.resident - early.resident),
            *(each.end, each.decoder),
        )
        sheet.add(each.what, f"{each.tiles:,}", *(f"{size:.0f}" for size in sizes))
    return sheet


def main() -> int:
    """Measure, print the table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apart", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--tiles", type=int, default=5000, help="of the job, at least so many")
    parser.add_argument("--backends", nargs="*", default=installed_backends())
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.apart:
        what, scene, output = given.apart
        grown = watch_job(Path(scene), Path(output)) if what == "job" else watch_networks(what)
        print(json.dumps(asdict(grown)))
        return 0
    machine = describe_machine()
    found = [watch_apart(what, given.tiles) for what in ("job", *given.backends)]
    sheet = describe(found)
    Console().print(sheet.for_screen())
    if given.markdown:
        given.markdown.write_text(sheet.for_page(), encoding="utf-8")
    if given.json:
        content = {"machine": asdict(machine), "memory": [asdict(each) for each in found]}
        given.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
