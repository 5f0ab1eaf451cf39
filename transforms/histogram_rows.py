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

    Only those with the same `key` can be added.
    """

    key: SceneKey
    arms: Mapping[Arm, Histograms]

    @staticmethod
    def of(window: Window, truth: Truth, arms: Mapping[Arm, Histograms]) -> "SceneHistograms":
        """Return what one window adds to its scene."""
        length, angle = (window.blur.length, window.blur.angle) if window.blur else (None, None)
        return SceneHistograms((window.scene.name, truth, length, angle), arms)

    def __add__(self, other: "SceneHistograms") -> "SceneHistograms":
        if self.key != other.key:
            raise ValueError(f"histograms of {self.key} cannot be added to those of {other.key}")
        names = [arm for arm in ARMS if arm in self.arms or arm in other.arms]
        none = Histograms()
        arms = {arm: self.arms.get(arm, none) + other.arms.get(arm, none) for arm in names}
        return SceneHistograms(self.key, arms)


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
    names = [arm for arm in ARMS if arm in sums.arms]
    rows = [
        owner | {"band": band, "arm": arm} | _describe(sums.arms, arm, index)
        for index, band in enumerate(BANDS)
        for arm in names
    ]
    return Rows(f"{scene}:{length}@{angle}", rows)


def _describe(arms: Mapping[Arm, Histograms], arm: Arm, band: int) -> Row:
    own = arms[arm]
    levels, gradients = own.levels[band], own.gradients[band]
    steep = int(np.searchsorted(gradient_edges(), STEEP))
    before = _compare(own, arms.get("before"), band)
    reference = _compare(own, arms.get("reference"), band)
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


def _compare(own: Histograms, base: Histograms | None, band: int) -> Row:
    """Return what changed from `base`; null where that does not exist, or counted more or fewer."""
    names = ("w1", "mean_shift", "std_shift", "gradient_w1", "spectrum_ratio")
    if base is None or _sizes(own, band) != _sizes(base, band):
        return dict.fromkeys(names)
    levels, others = own.levels[band], base.levels[band]
    middles = (gradient_edges()[:-1] + gradient_edges()[1:]) / 2
    power, other = (mean_power(of.power[band], of.patches) for of in (own, base))
    numbers = (
        wasserstein(levels, others),
        mean_level(levels) - mean_level(others),
        level_deviation(levels) - level_deviation(others),
        wasserstein(own.gradients[band], base.gradients[band], middles),
        _list(spectrum_ratio(power, other)),
    )
    return dict(zip(names, numbers, strict=True))


def _sizes(of: Histograms, band: int) -> tuple[int, int, int]:
    return int(of.levels[band].sum()), int(of.gradients[band].sum()), of.patches


def _list(values: Numbers) -> list[float | None] | None:
    """Return numbers with null for each that is not defined; null where none is."""
    known = [None if math.isnan(value) else value for value in values.tolist()]
    return None if all(value is None for value in known) else known


def _null_if_nan(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
