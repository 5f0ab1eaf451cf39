"""From records to the rows of the tables: pure functions, one per table."""

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.clusters import Clusters
from transforms.functional.boxes import Detections
from transforms.functional.quality import Quality
from transforms.georeference import (
    CAMERA_CRS,
    Points,
    distances,
    pixels_to_map,
    place_camera,
    place_corners,
    rectangle_to_corners,
)
from transforms.objects import change_of, claimed_objects, claims_of
from transforms.records import (
    Arm,
    ArmRow,
    Objects,
    Rejected,
    Scene,
    Sightings,
    SummaryRow,
    TileRow,
)
from transforms.redaction import redact
from transforms.tables import SIDES, Row, Rows

OF_OBJECTS: tuple[Arm, Arm] = ("before", "after")
"""The arms that an object is seen in."""


def tile_rows(row: TileRow, *, threshold: float, clusters: Clusters, crs: str = "scene") -> Rows:
    """Return the one row of `tiles`; detections count from the score `threshold` up.

    `crs` is that of the geometry: an authority code, or `scene` for the scene's own. A picture of a
    camera has the camera's point for its place.
    """
    window, scene, core = row.window, row.window.scene, row.window.core
    corners = pixels_to_map(rectangle_to_corners(core), scene.transform)
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    [place] = _places(corners[None], scene, crs)
    changes = Counter(change_of(*pair) for pair in claimed_objects(row).tolist())
    values = {
        "key": window.key,
        "scene": scene.name,
        "col_off": core.col_off,
        "row_off": core.row_off,
        "width": core.width,
        "height": core.height,
        "left": float(left),
        "bottom": float(bottom),
        "right": float(right),
        "top": float(top),
        "crs": scene.crs,
        "blur_length": window.blur.length if window.blur else None,
        "blur_angle": window.blur.angle if window.blur else None,
        "severity": window.blur.severity if window.blur else None,
        "cluster": clusters.name(window),
        "truth": row.truth,
        "status": row.status,
        "valid_pixels": row.valid_pixels,
        "judged_pixels": row.judged_pixels,
        "estimated_length": row.blur and row.blur.length,
        "estimated_angle": row.blur and row.blur.angle,
        "estimated_confidence": row.blur and row.blur.confidence,
        "skipped": row.skipped,
        "fallback": row.fallback or None,
        "kept": changes["kept"],
        "gained": changes["gained"],
        "lost": changes["lost"],
        "arms": [_arm_sums(row, arm, threshold) for arm in row.arms],
    }
    return Rows(window.key, [values | _taken(scene) | place], _map_crs(scene, crs))


def detection_rows(
    row: TileRow, *, names: Sequence[str], min_score: float, crs: str = "scene"
) -> Rows:
    """Return the rows of `detections` of one tile: every arm, from `min_score` up.

    `names` are the detector's classes by index; `crs` as for `tile_rows`.
    """
    rows = []
    for arm in row.arms:
        seen = arm.sightings
        chosen = np.flatnonzero(seen.claimed & (seen.detections.scores >= min_score))
        boxes = _box_rows(seen.detections.select(chosen), row.window.scene, names, crs)
        owner = {"key": row.window.key, "scene": row.window.scene.name, "arm": arm.arm}
        for index, box in zip(chosen.tolist(), boxes, strict=True):
            score = float(seen.detections.scores[index])
            rows.append(owner | {"score": score} | _outcome(row, seen, index) | box)
    return Rows(row.window.key, rows, _map_crs(row.window.scene, crs))


def ledger_rows(row: TileRow, *, names: Sequence[str], crs: str = "scene") -> Rows:
    """Return the rows of `ledger` of one tile: the objects that its core claims.

    The box is that in `after`, and of the lost that in `before`.
    """
    rows = []
    objects, scene = row.objects, row.window.scene
    sides = {arm: row.arm(arm).sightings for arm in OF_OBJECTS} if row.arms else {}
    numbers = np.flatnonzero(claims_of(row)).tolist()
    boxes = _ledger_boxes(row, numbers, names, crs)
    for number, box in zip(numbers, boxes, strict=True):
        before, after = int(objects.before[number]), int(objects.after[number])
        index: dict[Arm, int] = {"before": before, "after": after}
        values: Row = {
            "key": row.window.key,
            "scene": scene.name,
            "change": change_of(before, after),
        }
        for arm in OF_OBJECTS:
            values |= _seen_in(row, sides[arm], arm, index[arm])
        rows.append(values | _reblur(objects, number) | box)
    return Rows(row.window.key, rows, _map_crs(scene, crs))


def _ledger_boxes(
    row: TileRow, numbers: Sequence[int], names: Sequence[str], crs: str
) -> Iterator[Row]:
    """Yield what is told of the boxes of objects: those in `after`, of the lost in `before`."""
    places: dict[Arm, NDArray[np.int32]] = {
        "before": row.objects.before,
        "after": row.objects.after,
    }
    shown: list[Arm] = ["after" if places["after"][number] >= 0 else "before" for number in numbers]
    boxes: dict[Arm, Iterator[Row]] = {}
    for arm in OF_OBJECTS:
        mine = [number for number, its in zip(numbers, shown, strict=True) if its == arm]
        if mine:
            found = row.arm(arm).sightings.detections.select(places[arm][mine].astype(np.intp))
            boxes[arm] = iter(_box_rows(found, row.window.scene, names, crs))
    for arm in shown:
        yield next(boxes[arm])


def summary_rows(row: SummaryRow) -> Rows:
    """Return the one row of `summary`: what is not defined (nan) becomes null, inf stays."""
    values = {
        "stratum": row.stratum,
        "truth": row.truth,
        "arm": row.arm,
        "metric": row.metric,
        "value": _null_if_nan(row.value),
        "low": _null_if_nan(row.low),
        "high": _null_if_nan(row.high),
        "n": row.n,
        "clusters": row.clusters,
        "minimum_detectable": _null_if_nan(row.minimum_detectable),
        "p": _null_if_nan(row.p),
        "p_holm": _null_if_nan(row.p_holm),
        "status": row.status,
    }
    return Rows(row.stratum, [values])


def rejected_rows(rejected: Rejected, *, output: str | PathLike[str]) -> Rows:
    """Return the one row of `rejected`, with the command that replays the window."""
    values = {
        "key": rejected.key,
        "scene": rejected.scene,
        "stage": rejected.stage,
        "exception": rejected.exception,
        "message": redact(rejected.message),
        "replay": shlex.join(["aerial-deblur", "replay", str(output), rejected.key]),
    }
    return Rows(rejected.key, [values])


def _seen_in(row: TileRow, seen: Sightings, arm: str, index: int) -> Row:
    """Return an object's score, outcome and label in one arm, null where it is not there."""
    if index < 0:
        return {f"{name}_{arm}": None for name in ("score", "outcome", "label")}
    met = _outcome(row, seen, index)
    return {f"score_{arm}": float(seen.detections.scores[index])} | {
        f"{name}_{arm}": value for name, value in met.items()
    }


def _outcome(row: TileRow, seen: Sightings, index: int) -> Row:
    """Return how a detection met the truth at the operating point, and the label that it took."""
    if row.labels is None:
        return {"outcome": None, "label": None}
    taken, ignored = int(seen.taken[0, index]), bool(seen.ignored[0, index])
    outcome = "ignored" if ignored else "found" if taken >= 0 else "false"
    return {"outcome": outcome, "label": int(row.labels.numbers[taken]) if taken >= 0 else None}


def _reblur(objects: Objects, number: int) -> Row:
    evidence, residual = float(objects.evidence[number]), float(objects.residual[number])
    return {
        "reblur": objects.verdict[number] or None,
        "reblur_evidence": _null_if_nan(evidence),
        "reblur_residual": _null_if_nan(residual),
    }


def _arm_sums(row: TileRow, arm: ArmRow, threshold: float) -> Row:
    seen = arm.sightings
    mine = seen.claimed & (seen.detections.scores >= threshold)
    truth: Row = {"labels": None, "found": None, "false": None}
    if row.labels is not None:
        truth = {
            "labels": int(row.counted.sum()),
            "found": int((seen.found[0] & mine).sum()),
            "false": int((seen.false[0] & mine).sum()),
        }
    return (
        {"arm": arm.arm}
        | _quality_sums(arm.quality)
        | {
            "sharpness": _null_if_nan(arm.sharpness.value),
            "detections": int(mine.sum()),
            "stability_checked": arm.stability.count,
            "stability_found": int(arm.stability.total),
        }
        | truth
    )


def _quality_sums(quality: Quality | None) -> Row:
    return {
        "squared_error": quality and float(quality.squared_error.total),
        "squared_error_samples": quality and quality.squared_error.count,
        "ssim_total": quality and float(quality.ssim.total),
        "ssim_samples": quality and quality.ssim.count,
    }


def _box_rows(found: Detections, scene: Scene, names: Sequence[str], crs: str) -> list[Row]:
    """Return class, box, size on the ground and place of detections in scene pixels.

    The box is in pixels of the file, which are others where the scene was resampled.
    """
    boxes = found.xyxy * np.array(scene.file_pixels * 2, np.float32)
    corners = pixels_to_map(found.corners, scene.transform)
    widths = distances(corners[:, 0], corners[:, 1], scene.crs)
    heights = distances(corners[:, 1], corners[:, 2], scene.crs)
    numbers = zip(found.classes, boxes, widths, heights, strict=True)
    return [
        {"class": names[index]}
        | dict(zip(("x0", "y0", "x1", "y1"), map(float, box), strict=True))
        | {"width_m": _null_if_nan(float(width)), "height_m": _null_if_nan(float(height))}
        | _taken(scene)
        | place
        for (index, box, width, height), place in zip(
            numbers, _places(corners, scene, crs), strict=True
        )
    ]


def _places(corners: Points, scene: Scene, crs: str) -> list[dict[str, Any]]:
    """Return geometry and bounding box of each quadrilateral (k, 4, 2) of the scene's CRS."""
    target = _map_crs(scene, crs)
    if scene.camera is not None and target is not None:
        places = [place_camera(scene.camera, target)] * len(corners)
    else:
        places = place_corners(corners, scene.crs, target)
    return [
        {"geometry": place.wkb, "bbox": dict(zip(SIDES, place.bounds, strict=True))}
        if place is not None
        else {"geometry": None, "bbox": None}
        for place in places
    ]


def _map_crs(scene: Scene, crs: str) -> str | None:
    """Return the CRS of a scene's geometries; a scene without one stays in pixels."""
    own = scene.crs if scene.camera is None else CAMERA_CRS
    return own if own is None or crs == "scene" else crs


def _taken(scene: Scene) -> Row:
    """Return where in a sequence and when a scene was taken, null where nobody knows."""
    camera = scene.camera
    return {
        "sequence": camera and camera.sequence,
        "heading": camera and camera.heading,
        "time": scene.time,
    }


def _null_if_nan(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
