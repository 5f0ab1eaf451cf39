"""How well the blur of a single tile is estimated: synthetic motion on sharp pictures.

    python benchmarks/blur_estimate.py          writes docs/results_blur_estimate.md
    python benchmarks/blur_estimate.py PAGE     writes there

Reads ../shared/data; a source that is absent is left out. Blur and noise are those of a run (see
"Synthetic blur" in docs/metrics.md). The settings of the estimate were fixed without the sources
called "held out".
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import Kernel, motion_kernel, motion_path, path_kernel
from transforms.functional.blur_estimate import (
    SHORTEST,
    BlurEstimate,
    estimate_blur,
    measure_sharpness,
)
from transforms.functional.camera import decode_srgb, encode_srgb, through_jpeg
from transforms.functional.render import render_scene
from transforms.functional.sensor import add_noise, noise_field, smear
from transforms.functional.windows import Rectangle

Image = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "results_blur_estimate.md"
SIDE = 512
TILES = 6
LENGTHS = (5.0, 6.3, 7.0, 9.0, 11.0, 12.7, 15.0, 19.0, 25.0)
ANGLES = (0.0, 23.0, 45.0, 67.0, 90.0, 131.0, 158.0)
HARD_LENGTHS = (5.0, 9.0, 15.0, 25.0)
HARD_ANGLES = (23.0, 90.0, 131.0)
AIM = (2.0, 10.0)


@dataclass(frozen=True)
class Condition:
    """What else a picture suffers: noise of linear light, JPEG quality, vibration in px."""

    name: str
    read_noise: float = 0.001
    shot_noise: float = 0.003
    quality: int | None = None
    amplitude: float = 0.0


CLEAN = Condition("as in a run")
HARD = (
    Condition("five times the noise", read_noise=0.005, shot_noise=0.015),
    Condition("JPEG 90", quality=90),
    Condition("JPEG 75", quality=75),
    Condition("vibration of 0.5 px", amplitude=0.5),
)


@dataclass(frozen=True)
class Trial:
    """One estimate and the truth: length in px, angle in degrees."""

    source: str
    condition: str
    length: float
    angle: float
    found: BlurEstimate

    @property
    def length_error(self) -> float:
        """Return the error of the length in px."""
        return abs(self.found.length - self.length)

    @property
    def angle_error(self) -> float:
        """Return the angle in degrees between the directions; 90 where no blur was found."""
        if self.found.length == 0:
            return 90.0
        return abs((self.found.angle - self.angle + 90) % 180 - 90)

    @property
    def sharp(self) -> bool:
        """Say whether the tile was called sharp."""
        return self.found.length < SHORTEST


def main(page: Path = PAGE) -> None:
    """Measure, print and write the page."""
    sources = {name: tiles for name, tiles in read_sources() if tiles}
    trials = [trial for name, tiles in sources.items() for trial in try_source(name, tiles)]
    text = "\n".join((*describe(trials), *describe_falls(sources), *describe_cost()))
    print(text)
    page.write_text(text + "\n", encoding="utf-8")


def read_sources() -> Iterator[tuple[str, list[Image]]]:
    """Yield the sources by name, each with its sharp tiles."""
    minsk = list_pictures("vehicles_minsk", "*.[jJ][pP][gG]")
    held_out = [path for path in minsk if path.name.startswith("DJI_0762")]
    yield "Munich", cut(list_pictures("vehicles_munich", "*.png"))
    yield "Minsk", cut([path for path in minsk if path not in held_out])
    yield "sharp_texture, 1/3", cut(list_pictures("sharp_texture", "*/*.[jJ][pP][gG]"), scale=3)
    scenes = (render_scene(seed=900 + i, height=SIDE, width=SIDE).image for i in range(TILES))
    yield "rendered", list(scenes)
    yield "Minsk, DJI_0762 (held out)", cut(held_out)
    yield "Nepal (held out)", cut(list_pictures("scenes_nepal", "**/*.tif"))


def list_pictures(folder: str, pattern: str) -> list[Path]:
    """Return the pictures of a folder of the shared data, in order."""
    return sorted((DATA / folder).glob(pattern))


def cut(paths: Sequence[Path], *, scale: int = 1) -> list[Image]:
    """Return the middle of up to TILES pictures spread evenly over the paths, shrunk by `scale`."""
    chosen = [paths[index * len(paths) // TILES] for index in range(min(TILES, len(paths)))]
    return [_middle(_shrink(_read(path), scale)) for path in dict.fromkeys(chosen)]


def _read(path: Path) -> Image:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def _shrink(image: Image, scale: int) -> Image:
    size = (image.shape[1] // scale, image.shape[0] // scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale > 1 else image


def _middle(image: Image) -> Image:
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])


def try_source(name: str, tiles: Sequence[Image]) -> Iterator[Trial]:
    """Yield the trials of a source: sharp as it is, blurred, and blurred under hard conditions."""
    for seed, tile in enumerate(tiles):
        yield Trial(name, "sharp", 0.0, 0.0, estimate(tile))
        runs = [(CLEAN, LENGTHS, ANGLES), *((hard, HARD_LENGTHS, HARD_ANGLES) for hard in HARD)]
        for condition, lengths, angles in runs:
            for length in lengths:
                for angle in angles:
                    image = blur(tile, condition, kernel(condition, length, angle), seed=seed)
                    yield Trial(name, condition.name, length, angle, estimate(image))


def kernel(condition: Condition, length: float, angle: float) -> Kernel:
    """Return the kernel of a motion, with the condition's vibration across it."""
    if condition.amplitude == 0:
        return motion_kernel(length, angle)
    return path_kernel(
        motion_path(length, angle, amplitude=condition.amplitude, periods=1.3, phase=0.7)
    )


def blur(tile: Image, condition: Condition, taps: Kernel, *, seed: int) -> Image:
    """Return the tile as a moving camera under that condition would have taken it."""
    field = noise_field(Rectangle(0, 0, tile.shape[1], tile.shape[0]), seed=seed)
    light = add_noise(
        smear(decode_srgb(tile), taps),
        field,
        read_noise=condition.read_noise,
        shot_noise=condition.shot_noise,
    )
    image = encode_srgb(light)
    return image if condition.quality is None else through_jpeg(image, condition.quality)


def estimate(image: Image) -> BlurEstimate:
    """Estimate the blur of an image without gaps."""
    return estimate_blur(image, np.ones(image.shape[:2], np.bool_))


def describe(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the lines of the page up to the costs."""
    clean = [trial for trial in trials if trial.condition == CLEAN.name]
    sources = list(dict.fromkeys(trial.source for trial in trials))
    yield from ("# Results: the blur of a single tile", "")
    yield "Made by `benchmarks/blur_estimate.py`. Tiles of at most 512 x 512 px, up to six a"
    yield "source; synthetic straight motion of every length below, at " + ", ".join(
        f"{angle:g}" for angle in ANGLES
    )
    yield "degrees. Errors as median / 90th percentile, length in px and angle in degrees; a blur"
    yield "called sharp counts with its whole length and 90 degrees. Held out: errors on these"
    yield "pictures were printed beside the others during development, but no setting was chosen by"
    yield "them. Estimates lie on a grid of 0.1 px (0.2 px from 12 px on) and 0.5 degrees, as do"
    yield "all lengths but 12.7 px."
    yield from ("", "## By source and length", "")
    yield from table(("source", *(f"{length:g} px" for length in LENGTHS), "within 2 px and 10°"))
    for name in sources:
        own = [trial for trial in clean if trial.source == name]
        cells = [errors([t for t in own if t.length == length]) for length in LENGTHS]
        yield row((name, *cells, share(map(accurate, own))))
    yield from ("", "## By angle, all lengths", "")
    yield from table(("", *(f"{angle:g}°" for angle in ANGLES)))
    cells = [errors([trial for trial in clean if trial.angle == angle]) for angle in ANGLES]
    yield row(("all sources", *cells))
    yield from ("", '## "Estimated sharp" (below 3 px) as a rule for skipping', "")
    yield from table(("source", "sharp tiles called sharp", "blurred tiles called sharp"))
    for name in sources:
        sharp = [t.sharp for t in trials if t.source == name and t.condition == "sharp"]
        missed = [t.sharp for t in clean if t.source == name]
        yield row((name, share(sharp), share(missed)))
    yield from ("", "## Where the model does not hold, all sources", "")
    yield from table(("condition", *(f"{length:g} px" for length in HARD_LENGTHS), "called sharp"))
    for condition in HARD:
        own = [trial for trial in trials if trial.condition == condition.name]
        cells = [errors([t for t in own if t.length == length]) for length in HARD_LENGTHS]
        yield row((condition.name, *cells, share(t.sharp for t in own)))


def accurate(trial: Trial) -> bool:
    """Say whether length and angle are as near as the aim asks for."""
    length, angle = AIM
    return trial.length_error <= length and trial.angle_error <= angle


def errors(trials: Sequence[Trial]) -> str:
    """Return the median and the 90th percentile of both errors as a cell."""
    lengths = np.percentile([trial.length_error for trial in trials], (50, 90))
    angles = np.percentile([trial.angle_error for trial in trials], (50, 90))
    return f"{lengths[0]:.1f} / {lengths[1]:.1f}, {angles[0]:.0f}° / {angles[1]:.0f}°"


def share(flags: Iterable[bool]) -> str:
    """Return how many are true, as a cell."""
    known = list(flags)
    return f"{sum(known)} of {len(known)} ({sum(known) / len(known):.1%})"


def describe_falls(sources: dict[str, list[Image]]) -> Iterator[str]:
    """Yield how often the sharpness falls from one length to the next."""
    falls = []
    for tiles in sources.values():
        for seed, tile in enumerate(tiles):
            for angle in HARD_ANGLES:
                images = [
                    blur(tile, CLEAN, motion_kernel(length, angle), seed=seed)
                    for length in (0.0, *LENGTHS)
                ]
                valid = np.ones(tile.shape[:2], np.bool_)
                scores = [measure_sharpness(image, valid) for image in images]
                falls += [later < earlier for earlier, later in pairwise(scores)]
    yield from ("", "## Sharpness", "")
    yield f"From each length to the next longer one it falls in {share(falls)} of the steps."


def describe_cost() -> Iterator[str]:
    """Yield what an estimate costs."""
    image = render_scene(seed=900, height=1024, width=1024).image
    seconds = []
    for _ in range(9):
        began = perf_counter()
        estimate(image)
        seconds.append(perf_counter() - began)
    yield from ("", "## Cost", "")
    yield f"{1000 * median(seconds):.0f} ms for 1024 x 1024 px: median of 9, on one core."


def table(heads: Sequence[str]) -> tuple[str, str]:
    """Return the two lines that begin a table."""
    return row(heads), "|" + "---|" * len(heads)


def row(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(*map(Path, sys.argv[1:2]))
