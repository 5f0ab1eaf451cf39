"""Reconcile: objects next to a core's border get exactly one owner.

A few hundred bytes per tile cross a shuffle, by scene; what must change comes back to the rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import apache_beam as beam
import numpy as np

from transforms.functional.borders import BorderView, Claim, SeenBoxes, settle_borders
from transforms.group_packed import GroupPacked
from transforms.objects import near_border
from transforms.records import ArmRow, Settled, TileRow, Window

Claims = Mapping[str, Sequence[Claim]]
"""By window; what does not change is not there."""


@dataclass
class Reconcile(beam.PTransform):
    """Settle who owns what lies within `border` px of a core's border; rejects pass through."""

    border: int

    def expand(self, settled: beam.PCollection) -> beam.PCollection:
        """Map settled windows to the same, with every object claimed once."""
        claims = (
            settled
            | "Views" >> beam.FlatMap(border_views, self.border)
            | "ByScene" >> GroupPacked(str)
            | "SettleBorders" >> beam.FlatMapTuple(claims_by_window)
        )
        return settled | "Apply" >> beam.Map(apply_claims, beam.pvalue.AsDict(claims))


def reconcile(settled: Sequence[Settled], border: int) -> list[Settled]:
    """Do what `Reconcile` does, in one process."""
    views: dict[str, list[BorderView]] = defaultdict(list)
    for row in settled:
        for key, view in border_views(row, border):
            views[key].append(view)
    claims = dict(settled for key, seen in views.items() for settled in claims_by_window(key, seen))
    return [apply_claims(row, claims) for row in settled]


def border_views(row: Settled, border: int) -> Iterator[tuple[str, BorderView]]:
    """Yield what a window saw near the border of its core, if anything, by scene and blur."""
    if not isinstance(row, TileRow):
        return
    window = row.window
    near: dict[str, np.ndarray] = {arm.arm: _near(row, arm, border) for arm in row.arms}
    bonds = _bonds(row, near)
    arms: dict[str, SeenBoxes] = {
        arm.arm: _seen(arm, near[arm.arm]) for arm in row.arms if near[arm.arm].any()
    }
    if arms:
        yield picture_key(window), BorderView(window.key, window.core, arms, bonds)


def picture_key(window: Window) -> str:
    """Return what the windows of one scene under one blur have in common."""
    blur = window.blur
    return f"{window.scene.name}:{blur.length:g}@{blur.angle:g}" if blur else window.scene.name


def claims_by_window(
    key: str, views: Iterable[BorderView]
) -> Iterator[tuple[str, tuple[Claim, ...]]]:
    """Yield the claims of one picture that must change, by the key of their window."""
    claims: dict[str, list[Claim]] = defaultdict(list)
    for claim in settle_borders(list(views)):
        claims[claim.key].append(claim)
    for window, changed in claims.items():
        yield window, tuple(changed)


def apply_claims(row: Settled, claims: Claims) -> Settled:
    """Return the row with the claims that neighbouring windows settled."""
    mine = claims.get(row.window.key, ()) if isinstance(row, TileRow) else ()
    if not isinstance(row, TileRow) or not mine:
        return row
    arms = tuple(_change(arm, mine) for arm in row.arms)
    return replace(row, arms=arms, owned=_owned(row, mine))


def _owned(row: TileRow, claims: Sequence[Claim]) -> np.ndarray:
    """Return which labels the core owns: those found on the sharp picture go with their boxes."""
    if row.truth != "reference":
        return row.owned
    owned, taken = row.owned.copy(), row.arm("reference").sightings.taken[0]
    for claim in claims:
        if claim.arm == "reference" and taken[claim.index] >= 0:
            owned[taken[claim.index]] = claim.claimed
    return owned


def _change(arm: ArmRow, claims: Sequence[Claim]) -> ArmRow:
    claimed = arm.sightings.claimed.copy()
    for claim in claims:
        if claim.arm == arm.arm:
            claimed[claim.index] = claim.claimed
    return replace(arm, sightings=replace(arm.sightings, claimed=claimed))


def _near(row: TileRow, arm: ArmRow, border: int) -> np.ndarray:
    read = row.window.read
    inside = arm.sightings.detections.centres - np.array([read.col_off, read.row_off], np.float32)
    return near_border(row.window, inside, border) | ~arm.sightings.claimed


def _bonds(row: TileRow, near: Mapping[str, np.ndarray]) -> tuple:
    """Return the objects seen in both arms, and let both of their boxes count as near."""
    objects = row.objects
    both = [
        (int(old), int(new))
        for old, new in zip(objects.before, objects.after, strict=True)
        if old >= 0 and new >= 0 and (near["before"][old] or near["after"][new])
    ]
    for old, new in both:
        near["before"][old] = near["after"][new] = True
    place = {arm: np.cumsum(flags) - 1 for arm, flags in near.items()}
    return tuple(
        (("before", int(place["before"][old])), ("after", int(place["after"][new])))
        for old, new in both
    )


def _seen(arm: ArmRow, near: np.ndarray) -> SeenBoxes:
    index = np.flatnonzero(near)
    chosen = arm.sightings.detections.select(index)
    return SeenBoxes(chosen.xyxy, chosen.classes, arm.sightings.claimed[index], index)
