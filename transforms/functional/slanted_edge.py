"""The slanted edge: how sharp is it, before and after something was done to the picture.

After ISO 12233: an edge a few degrees off the pixel grid is crossed by every row at another phase,
so that all rows together sample its profile (the edge-spread function) much finer than the pixels.
Its derivative is the line-spread function, whose spectrum is the modulation transfer function.
Unlike the standard nothing is fitted: the chart is drawn here, so the place of the edge is known.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image, decode_srgb, encode_srgb

Profile = NDArray[np.float64]

SIDE, MARGIN = 160, 16
"""Height and width of the chart, and the border that is not measured, in px."""
ANGLE = 5.0
DARK, BRIGHT = 60, 190
BINS_PER_PIXEL = 4
REACH = 32
"""How far from the edge its profile is measured, in px."""
HIGHEST = 1.0
"""The highest frequency looked at, in cycles per px: twice Nyquist's, for edges are oversampled."""


@dataclass(frozen=True)
class Edge:
    """A chart: the direction that the edge runs in, and the motion that blurs it.

    `orientation` is vertical or horizontal; the motion of `length` px goes across or along it.
    """

    orientation: str
    length: float = 0.0
    direction: str = "across"

    @property
    def name(self) -> str:
        """Return a name for files and tables."""
        motion = f"_{self.length:g}px_{self.direction}" if self.length else "_sharp"
        return f"edge_{self.orientation}{motion}"


@dataclass(frozen=True)
class EdgeResponse:
    """What became of an edge: MTF50 in cycles per px, overshoot and undershoot in % of the step."""

    mtf50_before: float
    mtf50_after: float
    overshoot_percent: float
    undershoot_percent: float

    @property
    def gain(self) -> float:
        """Return MTF50 after over before."""
        return self.mtf50_after / self.mtf50_before


def draw_edge(edge: Edge) -> Image:
    """Draw the chart, uint8 (160, 160, 3), grey; blurred in linear light, free of noise.

    Each pixel holds the mean light over its square.
    """
    dark, bright = (float(decode_srgb(np.uint8(level))) for level in (DARK, BRIGHT))  # type: ignore[arg-type]
    light = dark + (bright - dark) * _coverage(edge_distance("vertical"))
    grey = np.repeat(encode_srgb(light.astype(np.float32))[:, :, None], 3, axis=2)
    angle = 0.0 if edge.direction == "across" else 90.0
    moved = blur_tile(grey, length=edge.length, angle=angle, noise=0.0)
    upright = edge.orientation == "vertical"
    return moved if upright else np.ascontiguousarray(moved.transpose(1, 0, 2))


def edge_distance(orientation: str) -> Profile:
    """Return the distance of every pixel's centre to the edge, in px, float64 (160, 160).

    Positive on the bright side: right of a vertical edge, below a horizontal one.
    """
    offsets = np.arange(SIDE) - (SIDE - 1) / 2
    angle = math.radians(ANGLE)
    distance = math.cos(angle) * offsets[None, :] + math.sin(angle) * offsets[:, None]
    return distance if orientation == "vertical" else distance.T


def measure_edge(chart: Image, answer: Image, orientation: str) -> EdgeResponse:
    """Compare an edge's chart with the answer to it, both uint8 (160, 160, 3).

    The MTF is that of linear light, in which the motion happened; overshoot and undershoot are
    those of the encoded levels, which is what a detector sees.
    """
    distance = edge_distance(orientation)
    before, after = (edge_spread(_grey(decode_srgb(image)), distance) for image in (chart, answer))
    levels = edge_spread(_grey(answer), distance)
    outer = len(levels) // 8
    low, high = float(levels[:outer].mean()), float(levels[-outer:].mean())
    step = (BRIGHT - DARK) / 100
    return EdgeResponse(
        mtf50(transfer(before)),
        mtf50(transfer(after)),
        max(0.0, float(levels.max()) - high) / step,
        max(0.0, low - float(levels.min())) / step,
    )


def edge_spread(values: Profile, distance: Profile) -> Profile:
    """Return the mean of values (h, w) by their distance to the edge: the edge-spread function.

    Bins of a quarter pixel from -32 to 32 px, each mean moved from where its samples lie to the
    middle of its bin; the outermost 16 px of the picture are left out. Raises ValueError if a bin
    is empty: an edge along the pixel grid has only one phase.
    """
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    place = (distance[inner].ravel() + REACH) * BINS_PER_PIXEL
    count = 2 * REACH * BINS_PER_PIXEL
    held = (place >= 0) & (place < count)
    bins = place[held].astype(np.intp)
    samples = np.bincount(bins, minlength=count)
    if not samples.all():
        raise ValueError(f"the edge must be slanted, got {int((samples == 0).sum())} empty bins")
    places, means = (
        np.bincount(bins, weights=weights[held], minlength=count) / samples
        for weights in (place, values[inner].ravel())
    )
    return np.interp(np.arange(count) + 0.5, places, means)


def transfer(spread: Profile) -> Profile:
    """Return the modulation transfer function of an edge-spread function: (n, 2).

    Rows of (frequency in cycles per px, modulation), from (0, 1) to 1 cycle per px. It contains
    the pixel's own aperture. What bins and differences damp is divided out again. The outer half of
    the line-spread function is tapered (Tukey). An answer without an edge has modulation 0.
    """
    line = np.diff(spread)
    ends = np.linspace(-1.0, 1.0, len(line))
    taper = np.where(np.abs(ends) <= 0.5, 1.0, 0.5 - 0.5 * np.cos(2 * np.pi * np.abs(ends)))
    spectrum = np.abs(np.fft.rfft(line * taper, 8 * len(spread)))
    frequency = np.fft.rfftfreq(8 * len(spread), 1 / BINS_PER_PIXEL)
    kept = frequency <= HIGHEST
    damped = np.sinc(frequency[kept] / BINS_PER_PIXEL) ** 2
    whole = spectrum[0] if abs(float(spread[-1] - spread[0])) > 1e-9 else np.inf
    return np.stack([frequency[kept], spectrum[kept] / damped / whole], axis=1)


def mtf50(curve: Profile) -> float:
    """Return the lowest frequency at which modulation is a half, in cycles per px.

    0 where there is no edge at all; 1, the highest looked at, where modulation never falls so far.
    """
    low = np.flatnonzero(curve[:, 1] < 0.5)
    if len(low) == 0:
        return HIGHEST
    if low[0] == 0:
        return 0.0
    (f0, m0), (f1, m1) = curve[low[0] - 1], curve[low[0]]
    return float(f0 + (m0 - 0.5) / (m0 - m1) * (f1 - f0))


def _coverage(distance: Profile) -> Profile:
    """Return the share of a pixel's square beyond an edge at this distance from its centre."""
    along, across = math.cos(math.radians(ANGLE)), math.sin(math.radians(ANGLE))
    wide, narrow = (along + across) / 2, (along - across) / 2
    ramps = [np.maximum(distance + shift, 0.0) ** 2 for shift in (wide, -wide, narrow, -narrow)]
    return np.asarray((ramps[0] + ramps[1] - ramps[2] - ramps[3]) / (2 * along * across))


def _grey(image: NDArray[np.uint8] | NDArray[np.float32]) -> Profile:
    return np.asarray(image.astype(np.float64).mean(axis=2))
