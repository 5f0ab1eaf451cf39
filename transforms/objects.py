"""Objects: which detections of `before` and `after` are one thing, and whose they are.

An object at the operating point belongs to the core that holds the centre of its box in `before`,
or in `after` where `before` has none; its boxes in both arms go with it. So every object is
claimed whole, and the totals of the ledger are those of the detections, exactly. All other
detections belong to the core that holds their own centre.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import motion_kernel
from transforms.functional.boxes import Detections, Labels
from transforms.functional.matching import match_boxes
from transforms.functional.reblur import check_reblur, judge_reblur
from transforms.records import Arm, DeblurredTile, Objects, Sightings, Tile, TileRow, Window

Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

GONE = -1


@dataclass(frozen=True, eq=False)
class Judgement:
    """How the k detections of one arm meet the labels: `Sightings.taken` and `.ignored`, (c, k)."""

    taken: NDArray[np.int32]
    ignored: Flags


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections of `before` and `after` that are one object, as indices; `GONE` where absent."""

    before: Index
    after: Index

    @staticmethod
    def of(
        before: Detections, after: Detections, *, iou: float, oriented: bool, threshold: float
    ) -> "Pairs":
        """Match `after` to `before` as detections are matched to labels, at the operating point.

        Kept and lost come first, in the order of `before`, then the gained in that of `after`.
        """
        old = np.flatnonzero(before.scores >= threshold)
        new = np.flatnonzero(after.scores >= threshold)
        known = Labels.plain(before.corners[old], before.classes[old])
        matches = match_boxes(after.select(new), known, ious=(iou,), oriented=oriented).labels[0]
        partner = np.full(len(old), GONE, np.intp)
        partner[matches[matches >= 0]] = new[matches >= 0]
        gained = new[matches < 0]
        return Pairs(
            np.concatenate([old, np.full(len(gained), GONE, np.intp)]),
            np.concatenate([partner, gained]),
        )


def see_objects(
    tile: DeblurredTile,
    detections: Mapping[Arm, Detections],
    judgements: Mapping[Arm, Judgement],
    pairs: Pairs,
    border: int,
) -> tuple[dict[Arm, Sightings], Objects]:
    """Return what the window claims or must settle with its neighbours, in every arm.

    `detections` are in pixels of the read rectangle; `border` (px) is how near an inner border of
    the core counts as near.
    """
    window = tile.tile.window
    claimed = {arm: owns(window, found.centres) for arm, found in detections.items()}
    kept = {
        arm: claimed[arm] | near_border(window, found.centres, border)
        for arm, found in detections.items()
    }
    _claim_whole(pairs, claimed)
    _keep_whole(pairs, kept)
    sightings = {
        arm: Sightings(
            detections=found.select(kept[arm]).shift(window.read.col_off, window.read.row_off),
            claimed=claimed[arm][kept[arm]],
            taken=judgements[arm].taken[:, kept[arm]],
            ignored=judgements[arm].ignored[:, kept[arm]],
        )
        for arm, found in detections.items()
    }
    return sightings, _objects(tile, detections["after"], pairs, kept)


def owns(window: Window, centres: NDArray[np.float32]) -> Flags:
    """Say which centres (k, 2), in pixels of the read rectangle, lie in the core (half-open)."""
    rows, columns = window.core.within(window.read)
    x, y = centres.T
    owned: Flags = (columns.start <= x) & (x < columns.stop) & (rows.start <= y) & (y < rows.stop)
    return owned


def near_border(window: Window, centres: NDArray[np.float32], border: int) -> Flags:
    """Say which centres (k, 2) lie within `border` px of an edge between the core and another."""
    core, scene, read = window.core, window.scene, window.read
    rows, columns = core.within(read)
    right, bottom = core.col_off + core.width, core.row_off + core.height
    x, y = centres.T
    beside = [
        (x, y, columns.start, rows, core.col_off > 0),
        (x, y, columns.stop, rows, right < scene.width),
        (y, x, rows.start, columns, core.row_off > 0),
        (y, x, rows.stop, columns, bottom < scene.height),
    ]
    near = np.zeros(len(centres), np.bool_)
    for across, along, edge, side, inner in beside:
        if inner:
            in_reach = (along >= side.start - border) & (along <= side.stop + border)
            near |= (np.abs(across - edge) <= border) & in_reach
    return near


def _claim_whole(pairs: Pairs, claimed: Mapping[Arm, Flags]) -> None:
    """Let the box in `after` of every object go with that in `before`, in place."""
    both = (pairs.before >= 0) & (pairs.after >= 0)
    claimed["after"][pairs.after[both]] = claimed["before"][pairs.before[both]]


def _keep_whole(pairs: Pairs, kept: Mapping[Arm, Flags]) -> None:
    both = (pairs.before >= 0) & (pairs.after >= 0)
    before, after = pairs.before[both], pairs.after[both]
    either = kept["before"][before] | kept["after"][after]
    kept["before"][before] = either
    kept["after"][after] = either


def _objects(
    tile: DeblurredTile, after: Detections, pairs: Pairs, kept: Mapping[Arm, Flags]
) -> Objects:
    """Return the kept pairs, numbered as the sightings are, with the check of the gained."""
    index = {arm: np.append(np.cumsum(flags) - 1, GONE) for arm, flags in kept.items()}
    mine = np.where(
        pairs.before >= 0, np.append(kept["before"], False)[pairs.before], False
    ) | np.where(pairs.after >= 0, np.append(kept["after"], False)[pairs.after], False)
    old, new = pairs.before[mine], pairs.after[mine]
    gained = np.flatnonzero(old < 0)
    evidence, residual = np.full((2, len(old)), np.nan, np.float32)
    verdict = np.full(len(old), "", object)
    if len(gained):
        kernel = motion_kernel(tile.blur.length, tile.blur.angle)
        boxes = after.xyxy[new[gained]]
        check = check_reblur(tile.tile.before, tile.made["after"], boxes, kernel)
        evidence[gained], residual[gained] = check.evidence, check.residual
        verdict[gained] = judge_reblur(check)
    return Objects(
        before=index["before"][old].astype(np.int32),
        after=index["after"][new].astype(np.int32),
        evidence=evidence,
        residual=residual,
        verdict=tuple(verdict),
    )


def judged_at(tile: Tile, centres: NDArray[np.float32]) -> Flags:
    """Say which centres (k, 2), in pixels of the read rectangle, lie where labels are complete."""
    height, width = tile.judged.shape
    columns, rows = np.floor(centres).astype(np.intp).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    judged = tile.judged[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return np.asarray(inside & judged)


def claims_of(row: TileRow) -> Flags:
    """Say which objects the core claims, bool (n,): an object's boxes are claimed together."""
    objects = row.objects
    if not len(objects):
        return np.zeros(0, np.bool_)
    before, after = (row.arm(arm).sightings.claimed for arm in ("before", "after"))
    return np.where(
        objects.before >= 0,
        np.append(before, False)[objects.before],
        np.append(after, False)[objects.after],
    )


def claimed_objects(row: TileRow) -> NDArray[np.int32]:
    """Return the places in `before` and `after` of the claimed objects: int32 (n, 2)."""
    claimed = claims_of(row)
    return np.stack([row.objects.before[claimed], row.objects.after[claimed]], axis=1)


def change_of(before: int, after: int) -> str:
    """Return what became of an object with these places in the arms; below 0 it has none."""
    if before < 0:
        return "gained"
    return "lost" if after < 0 else "kept"
