"""The probe: what a deblurrer does to synthetic charts, and whether it is the one of its card."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cards import is_card, read_card
from models.deblurrer import Deblurrer
from models.fingerprint import Fingerprint, take_fingerprint
from transforms.functional import charts
from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image
from transforms.functional.charts import Noise, Point, Radiometry, Seam
from transforms.functional.slanted_edge import Edge, EdgeResponse, draw_edge, measure_edge

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]

LENGTHS = (7.0, 11.0)
STAR_FREQUENCY = 0.1
UNKNOWN_HALO = 160
"""The halo in px that seams are tried with where nobody has measured one: a run's default."""

# In DN. The same weights on another number of threads or without oneDNN: 0; with 10 bits of
# mantissa in every convolution, as TF32 has: 0.01; in bfloat16: 0.07; in 8 bits: 1.4 to 1.7, with
# and without VNNI. The two shipped deblurrers are 4.6 apart.
_TOLERANCES = {"float32": 0.1, "bfloat16": 0.3, "float16": 0.3, "int8": 3.0}


@dataclass(frozen=True)
class Star:
    """Contrast of the star at 0.1 cycles per px, of 1: sharp, and blurred by motion over 7 px."""

    sharp_after: float
    blurred_before: float
    blurred_after: float


@dataclass(frozen=True)
class ProbeResult:
    """What a deblurrer did to every chart. `edges` by name; `halo_px` is that of the seam."""

    radiometry: Radiometry
    hue_shift_dn: float
    noise: Noise
    bright: Point
    dark: Point
    star: Star
    edges: Mapping[str, EdgeResponse]
    seam: Seam
    halo_px: int

    def numbers(self) -> dict[str, float]:
        """Return the few numbers of a fingerprint, rounded.

        MTF50 gains are means over vertical and horizontal edges with the motion across; overshoot
        is the largest over all edges, above or below.
        """
        overshoots = [
            max(edge.overshoot_percent, edge.undershoot_percent) for edge in self.edges.values()
        ]
        return {
            "bias_dn": round(self.radiometry.bias_dn, 2) + 0.0,  # no -0.0 on a card
            "levels": self.radiometry.levels,
            "hue_shift_dn": round(self.hue_shift_dn, 2),
            "noise_gain": round(self.noise.gain, 3),
            **{f"mtf50_gain_{length:g}px": round(self.gain(length), 2) for length in LENGTHS},
            "overshoot_percent": round(max(overshoots), 1),
            "seam_dn": self.seam.worst_dn,
        }

    def gain(self, length: float) -> float:
        """Return the mean MTF50 gain of the edges that a motion of this length crosses."""
        names = [Edge(way, length, "across").name for way in ("vertical", "horizontal")]
        return sum(self.edges[name].gain for name in names) / len(names)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain numbers, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "ProbeResult":
        """Return what `to_dict` wrote; TypeError for missing or unknown fields."""
        parts = {
            "radiometry": Radiometry(**values["radiometry"]),
            "noise": Noise(**values["noise"]),
            "bright": Point(**values["bright"]),
            "dark": Point(**values["dark"]),
            "star": Star(**values["star"]),
            "edges": {name: EdgeResponse(**edge) for name, edge in values["edges"].items()},
            "seam": Seam(**values["seam"]),
        }
        return ProbeResult(**{**values, **parts})


def probe_edges() -> tuple[Edge, ...]:
    """Return the edges of the probe: sharp, and blurred across and along, in two orientations."""
    motions = [(length, way) for length in LENGTHS for way in ("across", "along")]
    return tuple(
        Edge(orientation, length, direction)
        for orientation in ("vertical", "horizontal")
        for length, direction in ((0.0, "across"), *motions)
    )


def probe_charts() -> dict[str, Image]:
    """Return every chart but the seam's, by name: uint8 (h, w, 3)."""
    star = charts.siemens_star()
    return {
        "ramp": charts.grey_ramp(),
        "patches": charts.colour_patches(),
        "noise": charts.white_noise(),
        "flat": charts.single_pixel(0),
        "bright": charts.single_pixel(charts.POINT),
        "dark": charts.single_pixel(-charts.POINT),
        "star": star,
        "star_7px": blur_tile(star, length=7.0, angle=0.0, noise=0.0),
        **{edge.name: draw_edge(edge) for edge in probe_edges()},
    }


def run_probe(network: Network, *, halo: int | None) -> ProbeResult:
    """Probe a network that maps uint8 RGB (n, h, w, 3) to the same.

    Tiles of the seam test have `halo` px (160 where None), rounded up to the grid of 32 px on which
    a run cuts tiles, and at most the neighbour's whole width.
    """
    given = probe_charts()
    answers = {name: network(chart[None])[0] for name, chart in given.items()}
    stars = (answers["star"], given["star_7px"], answers["star_7px"])
    wanted = UNKNOWN_HALO if halo is None else halo
    halo_px = min(wanted + -wanted % 32, charts.SEAM_CORE)
    return ProbeResult(
        charts.measure_ramp(given["ramp"], answers["ramp"]),
        charts.measure_colour_shift(given["patches"], answers["patches"]),
        charts.measure_noise(given["noise"], answers["noise"]),
        charts.measure_point(charts.POINT, answers["bright"], answers["flat"]),
        charts.measure_point(-charts.POINT, answers["dark"], answers["flat"]),
        Star(*(charts.measure_star(star, STAR_FREQUENCY) for star in stars)),
        {
            edge.name: measure_edge(given[edge.name], answers[edge.name], edge.orientation)
            for edge in probe_edges()
        },
        probe_seam(network, halo_px),
        halo_px,
    )


def probe_seam(network: Network, halo: int) -> Seam:
    """Compare a busy and a flat tile of `halo` px, processed apart, with the one picture."""
    chart = charts.seam_chart()
    joined = charts.join_tiles(network(charts.cut_tiles(chart, halo)), halo)
    return charts.measure_seam(joined, network(chart[None])[0])


def fingerprint_deblurrer(deblurrer: Deblurrer) -> Fingerprint:
    """Return the fingerprint of a deblurrer, with the numbers of its probe, for its card."""
    numbers = run_probe(deblurrer, halo=deblurrer.halo).numbers()
    return take_fingerprint(deblurrer, normalisation=deblurrer.normalisation, numbers=numbers)


def check_fingerprint(deblurrer: Deblurrer) -> None:
    """Raise RuntimeError if a deblurrer does not answer as the card beside its weights says.

    Weights without a card or fingerprint pass, and so does another normalisation than the card's,
    whose answer is rightly another. Takes the time of a 128 px picture.
    """
    card = deblurrer.info.path.with_suffix(".md")
    known = read_card(card).fingerprint if is_card(card) else None
    if known is None or known.normalisation != deblurrer.normalisation:
        return
    got = take_fingerprint(deblurrer, normalisation=deblurrer.normalisation)
    distance, tolerance = got.distance(known), _TOLERANCES[deblurrer.dtype]
    if not distance <= tolerance:
        raise RuntimeError(
            f"{deblurrer.info.path.name} on {deblurrer.device} in {deblurrer.dtype} does not "
            "answer the fingerprint chart as its card says: got a difference of "
            f"{distance:.2f} DN, wanted at most {tolerance} DN; the weights, PyTorch or the "
            "device's arithmetic differ"
        )
