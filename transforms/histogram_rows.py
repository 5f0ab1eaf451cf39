"""The histograms of a scene under one blur, summed over its tiles, and the rows they make."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from transforms.functional.histogram_changes import (
    comb_index,
    count_levels,
    level_deviation,
    mean_level,
    share_at,
    wasserstein,
)
from transforms.functional.histograms import BANDS, STEEP, Histograms, gradient_edges
from transforms.functional.spectrum import Numbers, mean_power, spectrum_ratio
from transforms.records import ARMS, Arm, Truth, Window
from transforms.tables import Row, Rows

SceneKey = tuple[str, Truth, float | None, float | None]
"""Scene, truth, and length (px) and angle (degrees) of the blur applied by us, None without."""


@dataclass(frozen=True, eq=False)
class SceneHistograms:
    """The histograms of every arm of one scene under one blur, of one tile or of many.

    Tiles are summed apart by the arms that they have, for a control may exist in a sample of the
    tiles only: an arm is then compared with others on the tiles that have both. Only what has the
    same `key` can be added.
    """

    key: SceneKey
    groups: Mapping[tuple[Arm, ...], Mapping[Arm, Histograms]]

    @staticmethod
    def of(window: Window, truth: Truth, arms: Mapping[Arm, Histograms]) -> "SceneHistograms":
        """Return what one window adds to its scene."""
        length, angle = (window.blur.length, window.blur.angle) if window.blur else (None, None)
        names = tuple(arm for arm in ARMS if arm in arms)
        return SceneHistograms((window.scene.name, truth, length, angle), {names: arms})

    def __add__(self, other: "SceneHistograms") -> "SceneHistograms":
        if self.key != other.key:
            raise ValueError(f"histograms of {self.key} cannot be added to those of {other.key}")
        groups = dict(self.groups)
        for names, arms in other.groups.items():
            mine = groups.get(names, {})
            groups[names] = {arm: mine.get(arm, Histograms()) + arms[arm] for arm in names}
        return SceneHistograms(self.key, groups)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Return every arm that some tile has, in the order of `ARMS`."""
        return tuple(arm for arm in ARMS if any(arm in names for names in self.groups))

    def total(self, arm: Arm, *, beside: Arm | None = None) -> Histograms:
        """Return the sum of an arm, over the tiles that have the arm `beside` too if one is named.

        The zero if there is no such tile.
        """
        wanted = {arm, beside or arm}
        parts = [arms[arm] for names, arms in self.groups.items() if wanted <= set(names)]
        return reduce(add, parts, Histograms())


def add_histograms(parts: Iterable[SceneHistograms]) -> SceneHistograms:
    """Add one or more histograms of one key; the order does not matter."""
    return reduce(add, parts)


def sum_histograms(parts: Iterable[SceneHistograms]) -> list[SceneHistograms]:
    """Add what has the same key: one sum per scene and blur, in the order of first appearance."""
    sums: dict[SceneKey, SceneHistograms] = {}
    for part in parts:
        sums[part.key] = sums[part.key] + part if part.key in sums else part
    return list(sums.values())


def histogram_rows(sums: SceneHistograms) -> Rows:
    """Return the rows of `histograms` of one scene under one blur: one per band and arm."""
    scene, truth, length, angle = sums.key
    owner = {"scene": scene, "truth": truth, "blur_length": length, "blur_angle": angle}
    rows = [
        owner | {"band": band, "arm": arm} | _describe(sums, arm, index)
        for index, band in enumerate(BANDS)
        for arm in sums.arms
    ]
    return Rows(f"{scene}:{length}@{angle}", rows)


def _describe(sums: SceneHistograms, arm: Arm, band: int) -> Row:
    own = sums.total(arm)
    levels, gradients = own.levels[band], own.gradients[band]
    steep = int(np.searchsorted(gradient_edges(), STEEP))
    before, reference = (_compare(sums, arm, base, band) for base in ("before", "reference"))
    values = {
        "pixels": int(levels.sum()),
        "counts": levels.tolist(),
        "gradient_pixels": int(gradients.sum()),
        "gradient_counts": gradients.tolist(),
        "patches": own.patches,
        "power": _list(mean_power(own.power[band], own.patches)),
        "w1_before": before["w1"],
        "w1_reference": reference["w1"],
        "mean_shift": before["mean_shift"],
        "std_shift": before["std_shift"],
        "saturated_low": share_at(levels, 0),
        "saturated_high": share_at(levels, -1),
        "comb_index": comb_index(levels),
        "levels": count_levels(levels),
        "gradient_steep": share_at(gradients, slice(steep, None)),
        "gradient_w1_before": before["gradient_w1"],
        "gradient_w1_reference": reference["gradient_w1"],
        "spectrum_ratio_before": before["spectrum_ratio"],
        "spectrum_ratio_reference": reference["spectrum_ratio"],
    }
    return {name: _null_if_nan(value) for name, value in values.items()}


def _compare(sums: SceneHistograms, arm: Arm, base: Arm, band: int) -> Row:
    """Return what changed from `base` to `arm`, on the tiles that have both; nan where none has."""
    own, other = sums.total(arm, beside=base), sums.total(base, beside=arm)
    levels, others = own.levels[band], other.levels[band]
    middles = (gradient_edges()[:-1] + gradient_edges()[1:]) / 2
    power, others_power = (mean_power(of.power[band], of.patches) for of in (own, other))
    return {
        "w1": wasserstein(levels, others),
        "mean_shift": mean_level(levels) - mean_level(others),
        "std_shift": level_deviation(levels) - level_deviation(others),
        "gradient_w1": wasserstein(own.gradients[band], other.gradients[band], middles),
        "spectrum_ratio": _list(spectrum_ratio(power, others_power)),
    }


def _list(values: Numbers) -> list[float | None] | None:
    """Return numbers with null for each that is not defined; null where none is."""
    known = [None if math.isnan(value) else value for value in values.tolist()]
    return None if all(value is None for value in known) else known


def _null_if_nan(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
