"""Quantise a deblurrer to 8 bits, and say what that costs."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from configs.severity import LADDERS
from models.cards import is_card, read_card, sha256
from models.cpu_runtimes import QUANTIZED
from models.deblurrer import Deblurrer
from models.quantize import quantize_generator
from models.shipped import resolve_weights
from transforms.functional.blur import blur_tile
from transforms.functional.render import render_scene
from transforms.storage import write_bytes_whole

Image = NDArray[np.uint8]

LADDER = LADDERS[1]
SIDE, GSD = 256, 0.15
CALIBRATION_SEED, TEST_SEED = 7000, 8000
"""Of the first rendered scene of each kind; the next ones follow."""


@dataclass(frozen=True)
class Rung:
    """What 8 bits cost on pictures of one severity of blur, 0 for sharp ones.

    `psnr` (dB) and `worst` (levels) compare the 8-bit network's pictures with the float one's. The
    gains (dB) are in PSNR to the sharp picture; of sharp pictures there are none.
    """

    severity: int
    psnr: float
    worst: int
    float_gain: float | None
    gain: float | None


def quantize(name: str, *, pictures: str | None, crops: int) -> tuple[Path, list[Rung]]:
    """Write NAME.int8.onnx beside the weights, and return it and what it costs.

    It is calibrated on `crops` rendered scenes, sharp and of all severities of blur in turn, or on
    the middles of the first pictures that match the glob `pictures`. Other rendered scenes judge.
    Raises ValueError for weights that have no frozen norms, and where packages or pictures are
    missing.
    """
    weights = resolve_weights(name)
    samples = list(_rendered(crops) if pictures is None else _given(pictures, crops))
    try:
        content = quantize_generator(weights, samples)
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}: pip install 'aerial-deblur[quantize]'") from error
    path, card = weights.with_suffix(QUANTIZED), weights.with_suffix(".md")
    known = read_card(card).int8_sha256 if is_card(card) else None
    if known not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError(
            f"{path} is not replaced: {card} names another network. To make one of your own, copy "
            "the weights without their card"
        )
    write_bytes_whole(path, content)
    return path, judge(weights)


def judge(weights: Path, scenes: int = 2) -> list[Rung]:
    """Return what 8 bits cost for each severity, sharp pictures first, on rendered scenes."""
    exact = Deblurrer.load(weights, backend="openvino")
    coarse = Deblurrer.load(weights, backend="openvino", dtype="int8")
    rungs = []
    for severity in range(len(LADDER.lengths) + 1):
        pairs = [
            (sharp, _blur(sharp, severity, angle))
            for seed in range(TEST_SEED, TEST_SEED + scenes)
            for sharp in [_render(seed, 2 * SIDE)]
            for angle in LADDER.angles[:: 1 if severity else len(LADDER.angles)]
        ]
        sharp, blurred = (np.stack(each) for each in zip(*pairs, strict=True))
        answers = exact(blurred), coarse(blurred)
        before, float_psnr, psnr = (_psnr(each, sharp) for each in (blurred, *answers))
        rungs.append(
            Rung(
                severity,
                _psnr(*answers),
                int(np.abs(answers[0].astype(int) - answers[1]).max()),
                float_psnr - before if severity else None,
                psnr - before if severity else None,
            )
        )
    return rungs


def describe(path: Path, rungs: Sequence[Rung]) -> Table:
    """Return a table of what 8 bits cost, for people."""
    title = f"{path}, {path.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256(path)}"
    table = Table(title=title, title_justify="left")
    for column in ("severity", "PSNR to float, dB", "worst, DN", "gain, dB", "gain in 8 bits, dB"):
        table.add_column(column, justify="right")
    for rung in rungs:
        gains = ("" if gain is None else f"{gain:+.2f}" for gain in (rung.float_gain, rung.gain))
        table.add_row(str(rung.severity or "sharp"), f"{rung.psnr:.1f}", str(rung.worst), *gains)
    return table


def _rendered(crops: int) -> Iterator[Image]:
    for number in range(crops):
        severity = number % (len(LADDER.lengths) + 1)
        angle = LADDER.angles[number // (len(LADDER.lengths) + 1) % len(LADDER.angles)]
        yield _blur(_render(CALIBRATION_SEED + number, SIDE), severity, angle)


def _given(pictures: str, crops: int) -> Iterator[Image]:
    paths = sorted(path for path in Path().glob(pictures) if path.is_file())
    if not paths:
        raise ValueError(f"no pictures match {pictures!r}")
    for path in paths[:crops]:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if picture is None or min(picture.shape[:2]) < SIDE:
            raise ValueError(f"{path} must be an 8-bit picture of at least {SIDE} x {SIDE} px")
        top, left = ((side - SIDE) // 2 for side in picture.shape[:2])
        yield np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])


def _render(seed: int, side: int) -> Image:
    return render_scene(seed=seed, height=side, width=side, gsd=GSD).image


def _blur(sharp: Image, severity: int, angle: float) -> Image:
    if not severity:
        return sharp
    length = LADDER.lengths[severity - 1]
    return blur_tile(sharp, length=length, angle=angle, noise=LADDER.read_noise)


def _psnr(images: Image, others: Image) -> float:
    error = np.mean(np.square(images.astype(np.float64) - others))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
