"""Strata: the tiles and objects that are summed together, and what one tile adds to each.

A stratum is a crossing of dimensions, such as `class=car,size_px=16-32`. Scene and blur are those
of the tile. Class and size are those of the object: a detection that found a label counts with the
label's, a false one with its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from configs.schema import MeasureConfig
from transforms.clusters import Clusters
from transforms.functional.blur_estimate import blur_level
from transforms.functional.cells import Codes, Crossing
from transforms.functional.gain import DetectionCounts, count_detections
from transforms.functional.quality import Mean, Quality
from transforms.measure import Ruler
from transforms.objects import claims_of
from transforms.records import Arm, TileRow, Truth
from transforms.sums import ArmSums, Changes, TileSums

ALL = "all"
CONTROLLED = "controls=ran"
"""The tiles on which the controls ran, where they run on a sample only."""
AUDITED = "skip=audited"
"""The skipped tiles that were deblurred all the same."""

_OF_OBJECTS = ("class", "size_px", "size_m")

Stratum = tuple[str, Truth]


@dataclass(frozen=True)
class Stratifier:
    """What decides which strata a tile belongs to, and its cluster.

    `partial` are the arms that run on some tiles only: they are compared where they ran.
    """

    ruler: Ruler
    crossings: tuple[tuple[str, ...], ...]
    clusters: Clusters
    partial: frozenset[Arm]

    @staticmethod
    def of(
        ruler: Ruler, config: MeasureConfig, clusters: Clusters, partial: frozenset[Arm]
    ) -> "Stratifier":
        """Collect the settings of a run."""
        return Stratifier(ruler, config.strata, clusters, partial)


def strata_of(
    row: TileRow, stratifier: Stratifier
) -> Iterator[tuple[tuple[Stratum, str], TileSums]]:
    """Yield what one tile adds to every stratum that it belongs to, by stratum and cluster."""
    cluster = stratifier.clusters.name(row.window)
    for name, sums in _sums_by_name(row, stratifier):
        yield ((name, row.truth), cluster), sums


def _sums_by_name(row: TileRow, stratifier: Stratifier) -> Iterator[tuple[str, TileSums]]:
    whole = sum_tile(row, stratifier.ruler)
    common = _without(whole, stratifier.partial)
    ran = {arm.arm for arm in row.arms}
    yield ALL, common
    for name in _blur_names(row):
        yield name, common
    if stratifier.partial & ran - {"unskipped"}:
        yield CONTROLLED, _without(whole, frozenset({"unskipped"}))
    if "unskipped" in ran:
        yield AUDITED, _without(whole, stratifier.partial - {"unskipped"})
    for crossing in stratifier.crossings:
        tile_part = _tile_part(row, crossing)
        if tile_part is None:
            continue
        objects = tuple(name for name in crossing if name in _OF_OBJECTS)
        cells = {"": whole} if not objects else sum_cells(row, objects, stratifier.ruler)
        for cell, sums in cells.items():
            name = ",".join(part for part in (cell, tile_part) if part)
            yield name, _without(sums, stratifier.partial)


def sum_tile(row: TileRow, ruler: Ruler) -> TileSums:
    """Return all that a tile adds to a sum."""
    counts = _count(row, np.zeros(1, np.int64), _no_codes(row), ruler)
    return TileSums(
        arms={
            arm.arm: ArmSums(
                arm.quality or Quality(), arm.sharpness, arm.stability, counts[arm.arm][0]
            )
            for arm in row.arms
        },
        changes=_sum_changes(row, np.ones(len(row.objects), np.bool_), ruler),
        tiles=1,
        empty=int(row.status == "empty"),
        skipped=int(row.skipped),
        fallback=int(bool(row.fallback)),
        valid_pixels=row.valid_pixels,
        skipped_pixels=row.valid_pixels if row.skipped else 0,
        area=row.judged_km2,
    )


def sum_cells(row: TileRow, dimensions: Sequence[str], ruler: Ruler) -> dict[str, TileSums]:
    """Return what a tile's objects add to every cell of a crossing of their dimensions, by name.

    Quality, area and pixels belong to no object and are left out. Sizes in metres need a scene
    whose pixels are known on the ground: without, there are no cells.
    """
    if "size_m" in dimensions and row.metres is None:
        return {}
    crossing = Crossing(tuple(dimensions), ruler.names, row.metres)
    labels = _no_codes(row)
    if row.labels is not None:
        labels = crossing.encode(row.labels.corners, row.labels.classes)
    of_objects = _encode_objects(row, crossing)
    cells = _occupied_cells(row, labels, of_objects, crossing)
    counts = _count(row, cells, labels, ruler, crossing)
    return {
        crossing.name(cell): TileSums(
            arms={arm.arm: ArmSums(counts=counts[arm.arm][place]) for arm in row.arms},
            changes=_sum_changes(row, of_objects == cell, ruler),
            tiles=1,
        )
        for place, cell in enumerate(cells.tolist())
    }


def _without(sums: TileSums, arms: frozenset[Arm]) -> TileSums:
    return replace(sums, arms={arm: sums.arms[arm] for arm in sums.arms if arm not in arms})


def _blur_names(row: TileRow) -> list[str]:
    blur = row.window.blur
    if blur is None:
        return []
    rung = [] if blur.severity is None else [f"severity={blur.severity}"]
    return [f"blur_length={blur.length:g}", *rung]


def _tile_part(row: TileRow, crossing: Sequence[str]) -> str | None:
    """Return the part of a stratum's name that is the tile's; None where it is not known."""
    parts = []
    if "blur" in crossing:
        if row.blur is None or row.blur.confidence == 0:
            return None
        parts.append(f"blur={blur_level(row.blur.length)}")
    if "scene" in crossing:
        parts.append(f"scene={row.window.scene.name}")
    return ",".join(parts)


def _count(
    row: TileRow, cells: Codes, labels: Codes, ruler: Ruler, crossing: Crossing | None = None
) -> dict[Arm, list[dict[str, DetectionCounts]]]:
    """Count the detections of every arm in each cell, by class.

    `labels` (m,) are the cells of the row's labels; `crossing` gives those of other boxes, and
    without it all are in cell 0.
    """
    if row.labels is None:
        return {arm.arm: [{} for _ in cells] for arm in row.arms}
    names = ruler.names
    counted = _count_labels(row, cells, labels, ruler)
    results: dict[Arm, list[dict[str, DetectionCounts]]] = {}
    for arm in row.arms:
        seen = arm.sightings
        own = (
            np.zeros(len(seen.detections), np.int64)
            if crossing is None
            else crossing.encode(seen.detections.corners, seen.detections.classes)
        )
        place = np.append(labels, 0)[seen.taken]
        cell = np.searchsorted(cells, np.where(seen.taken >= 0, place, own))
        cell = np.minimum(cell, len(cells) - 1) if len(cells) else cell
        flat = count_detections(
            seen.detections.scores,
            found=seen.found & seen.claimed,
            false=seen.false & seen.claimed,
            cells=cell * len(names) + seen.detections.classes,
            labels=counted,
            threshold=ruler.threshold,
        )
        results[arm.arm] = [
            dict(zip(names, flat[at * len(names) : (at + 1) * len(names)], strict=True))
            for at in range(len(cells))
        ]
    return results


def _count_labels(row: TileRow, cells: Codes, labels: Codes, ruler: Ruler) -> Codes:
    """Return the labels that count, by cell and class, under every criterion: int64 (n, c)."""
    assert row.labels is not None
    mine = np.flatnonzero(row.counted)
    size = len(cells) * len(ruler.names)
    cell = np.searchsorted(cells, labels[mine])
    number = np.bincount(cell * len(ruler.names) + row.labels.classes[mine], minlength=size)
    by_distance = 0 if row.metres is None else 1
    criteria = [1] * len(ruler.ious) + [by_distance] * len(ruler.distances)
    return np.outer(number, criteria).astype(np.int64)


def _occupied_cells(row: TileRow, labels: Codes, of_objects: Codes, crossing: Crossing) -> Codes:
    """Return the cells that something claimed by the core counts in, ascending."""
    parts = [labels[row.owned], of_objects[claims_of(row)]]
    for arm in row.arms:
        seen = arm.sightings
        claimed = seen.detections.select(seen.claimed)
        parts.append(crossing.encode(claimed.corners, claimed.classes))
        # A label just outside the core may be found by a detection inside it.
        parts.append(labels[seen.taken[seen.found & seen.claimed]])
    cells = np.unique(np.concatenate(parts))
    return cells[cells >= 0]


def _no_codes(row: TileRow) -> Codes:
    return np.zeros(0 if row.labels is None else len(row.labels), np.int64)


def _encode_objects(row: TileRow, crossing: Crossing) -> Codes:
    """Return the cell of every object, that of its box in `before` or else in `after`."""
    if not len(row.objects):
        return np.zeros(0, np.int64)
    old, new = row.objects.before, row.objects.after
    boxes = [row.arm(arm).sightings.detections for arm in ("before", "after")]
    codes = [np.append(crossing.encode(each.corners, each.classes), -1) for each in boxes]
    return np.where(old >= 0, codes[0][old], codes[1][new])


def _sum_changes(row: TileRow, chosen: NDArray[np.bool_], ruler: Ruler) -> Changes:
    """Count the claimed objects among the chosen, bool (n,)."""
    objects = row.objects
    if not len(objects):
        return Changes()
    before, after = row.arm("before").sightings, row.arm("after").sightings
    mine = claims_of(row) & chosen
    kept = mine & (objects.before >= 0) & (objects.after >= 0)
    gained, lost = mine & (objects.before < 0), mine & (objects.after < 0)
    verdict = np.array(objects.verdict, object)
    invented = gained & (verdict == "inconsistent")
    shifts = (
        _widen(after.detections.scores)[objects.after[kept]]
        - _widen(before.detections.scores)[objects.before[kept]]
    )
    truth: Mapping[str, int] = {}
    if row.labels is not None:
        truth = {
            "gained_true": _among(after.found, objects.after[gained]),
            "gained_false": _among(after.false, objects.after[gained]),
            "gained_inconsistent_true": _among(after.found, objects.after[invented]),
            "gained_inconsistent_false": _among(after.false, objects.after[invented]),
            "lost_true": _among(before.found, objects.before[lost]),
            "lost_false": _among(before.false, objects.before[lost]),
        }
    return Changes(
        kept=int(kept.sum()),
        gained=int(gained.sum()),
        lost=int(lost.sum()),
        gained_consistent=int((verdict[gained] == "consistent").sum()),
        gained_inconsistent=int((verdict[gained] == "inconsistent").sum()),
        gained_undecided=int((verdict[gained] == "undecided").sum()),
        score_shift=Mean(sum(map(Fraction, shifts.tolist()), Fraction(0)), len(shifts)),
        **truth,
    )


def _widen(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return scores as float64, in which the difference of two float32 in [0, 1] is exact."""
    return scores.astype(np.float64)


def _among(flags: NDArray[np.bool_], index: NDArray[np.int32]) -> int:
    """Count the set flags of the operating criterion at some detections."""
    return int(flags[0][index].sum())
