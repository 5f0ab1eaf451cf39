"""The words of the table of inputs: what each stands for, so that any of them combine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from rasterio.enums import ColorInterp

HEIGHT, WIDTH = 150, 200
HOLE = (slice(40, 90), slice(30, 120))
"""Rows and columns without data, where a row of the table has a mask."""


class Row(NamedTuple):
    """One row of the table of inputs: six words, of each of which there is a rule."""

    driver: str
    dtype: str
    bands: str
    mask: str
    crs: str
    location: str

    @property
    def settings(self) -> dict[str, Any]:
        """Return what a config must say for such scenes, by dotted name."""
        said = DTYPES[self.dtype].settings | BANDS[self.bands].settings
        said |= PLACES[self.crs].settings
        scheme = {"input.tile_scheme": "tms"} if self.driver == "map tiles, TMS" else {}
        return {**said, **scheme}


@dataclass(frozen=True)
class Dtype:
    """Native values of a level of the 8-bit picture, and the stretch that gives it back."""

    native: Callable[[np.ndarray], np.ndarray]
    nodata: float
    stretch: tuple[float, float] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return the stretch as a setting."""
        if self.stretch is None:
            return {}
        return {"read.stretch": dict(zip(("low", "high"), self.stretch, strict=True))}


DTYPES = {
    "uint8": Dtype(lambda level: level.astype(np.uint8), 0),
    "uint16": Dtype(lambda level: (level * 16).astype(np.uint16), 0, (0, 4080)),
    "int16": Dtype(lambda level: (level * 20 - 1000).astype(np.int16), -32768, (-1000, 4100)),
    "float32": Dtype(lambda level: (level / 4).astype(np.float32), -9999, (0, 63.75)),
}

GREY, ALPHA, ANY = ColorInterp.gray, ColorInterp.alpha, ColorInterp.undefined
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class Bands:
    """What the bands mean, and which of them, from 0, are red, green and blue of the rendering."""

    meaning: tuple[ColorInterp, ...]
    shown: tuple[int, int, int]
    names: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


BANDS = {
    "1": Bands((GREY,), (0, 0, 0)),
    "2: grey, alpha": Bands((GREY, ALPHA), (0, 0, 0)),
    "3": Bands(RGB, (0, 1, 2)),
    "3: marked BGR": Bands(RGB[::-1], (2, 1, 0)),
    "4: RGB, alpha": Bands((*RGB, ALPHA), (0, 1, 2)),
    "4: RGB, NIR": Bands((*RGB, ANY), (0, 1, 2)),
    "4, by name": Bands(
        (GREY, ANY, ANY, ANY), (3, 2, 1), ("blue", "green", "red", "nir"),
        {"read.bands": ["nir", "red", "green"]},
    ),
    "5, by number": Bands((GREY, *[ANY] * 4), (4, 2, 1), (), {"read.bands": [5, 3, 2]}),
}  # fmt: skip

UTM = (0.15, 0.0, 600_000.0, 0.0, -0.15, 5_800_000.0)
PIXEL = 2 * 20037508.342789244 / 2**17 / 256
"""Metres in EPSG:3857 along a pixel of a map tile of zoom level 17."""
TILE = (68_500, 42_800)
WEST, NORTH = (TILE[0] * 256 - 2**24) * PIXEL, (2**24 - TILE[1] * 256) * PIXEL


@dataclass(frozen=True)
class Place:
    """The true CRS and transform of a scene; `where` says who tells: file, aux, world or nobody."""

    crs: str | None
    transform: Sequence[float]
    where: str = "file"
    settings: Mapping[str, Any] = field(default_factory=dict)


PLACES = {
    "EPSG": Place("EPSG:32632", UTM),
    "WKT": Place("+proj=tmerc +lat_0=51 +lon_0=10.3 +x_0=1234 +ellps=GRS80 +units=m", UTM),
    "degrees": Place("EPSG:4326", (1e-5, 0, 9, 0, -1e-5, 50)),
    "feet": Place("EPSG:2263", (1, 0, 980_000, 0, -1, 200_000)),
    "rotated": Place("EPSG:32632", (0.17, 0.1, 600_000, 0.1, -0.17, 5_800_000)),
    "polar": Place("EPSG:3995", (10, 0, -800, 0, -10, 900)),
    "antimeridian": Place("EPSG:4326", (1e-5, 0, 179.9995, 0, -1e-5, -17)),
    "Web Mercator": Place("EPSG:3857", (PIXEL, 0, WEST, 0, -PIXEL, NORTH)),
    "none": Place(None, (1, 0, 0, 0, 1, 0)),
    ".aux.xml": Place("EPSG:32632", UTM, "aux"),
    "world file": Place("EPSG:32632", UTM, "world", {"input.crs": "EPSG:32632"}),
    "world file, catalogue": Place("EPSG:25832", UTM, "world"),
}
