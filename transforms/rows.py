"""From records to the rows of the tables: pure functions, one per table."""

import math
import shlex
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.functional.gain import DetectionCounts
from transforms.functional.quality import Quality
from transforms.georeference import (
    Points,
    corners_to_wkb,
    distances,
    pixels_to_map,
    rectangle_to_corners,
    reproject,
)
from transforms.records import ArmRow, Rejected, Scene, SummaryRow, TileRow
from transforms.tables import SIDES, Row, Rows


def tile_rows(row: TileRow, *, threshold: float, crs: str = "scene") -> Rows:
    """Return the one row of `tiles`; detections count from the score `threshold` up.

    `crs` is that of the geometry: an authority code, or `scene` for the scene's own.
    """
    window, scene, core = row.window, row.window.scene, row.window.core
    corners = pixels_to_map(rectangle_to_corners(core), scene.transform)
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    [place] = _places(corners[None], scene, crs)
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
        "truth": row.truth,
        "status": row.status,
        "valid_pixels": row.valid_pixels,
        "kept": row.changes.kept,
        "gained": row.changes.gained,
        "lost": row.changes.lost,
        "arms": [_arm_sums(arm, threshold) for arm in row.arms],
    }
    return Rows(window.key, [values | place], _map_crs(scene, crs))


def detection_rows(
    row: TileRow, *, names: Sequence[str], min_score: float, crs: str = "scene"
) -> Rows:
    """Return the rows of `detections` of one tile: every arm, from `min_score` up.

    `names` are the detector's classes by index; `crs` as for `tile_rows`.
    """
    rows = [found for arm in row.arms for found in _arm_detections(row, arm, names, min_score, crs)]
    return Rows(row.window.key, rows, _map_crs(row.window.scene, crs))


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
        "minimum_detectable": _null_if_nan(row.minimum_detectable),
    }
    return Rows(row.stratum, [values])


def rejected_rows(rejected: Rejected, *, output: str | PathLike[str]) -> Rows:
    """Return the one row of `rejected`, with the command that replays the window."""
    values = {
        "key": rejected.key,
        "scene": rejected.scene,
        "stage": rejected.stage,
        "exception": rejected.exception,
        "message": rejected.message,
        "replay": shlex.join(["aerial-deblur", "replay", str(output), rejected.key]),
    }
    return Rows(rejected.key, [values])


def _arm_sums(arm: ArmRow, threshold: float) -> Row:
    detections = int((arm.detections.scores >= threshold).sum())
    counts = {"detections": detections} | _count_sums(arm.counts)
    return {"arm": arm.arm} | _quality_sums(arm.quality) | counts


def _quality_sums(quality: Quality | None) -> Row:
    return {
        "squared_error": quality and float(quality.squared_error.total),
        "squared_error_samples": quality and quality.squared_error.count,
        "ssim_total": quality and float(quality.ssim.total),
        "ssim_samples": quality and quality.ssim.count,
    }


def _count_sums(counts: Mapping[str, DetectionCounts]) -> Row:
    """Return the sums over the classes, null where there is no truth."""
    fields = ("labels", "found", "false")
    if not counts:
        return dict.fromkeys(fields)
    return {name: sum(getattr(count, name) for count in counts.values()) for name in fields}


def _arm_detections(
    row: TileRow, arm: ArmRow, names: Sequence[str], min_score: float, crs: str
) -> list[Row]:
    scene, kept = row.window.scene, arm.detections.select(arm.detections.scores >= min_score)
    corners = pixels_to_map(kept.corners, scene.transform)
    widths = distances(corners[:, 0], corners[:, 1], scene.crs)
    heights = distances(corners[:, 1], corners[:, 2], scene.crs)
    owner = {"key": row.window.key, "scene": scene.name, "arm": arm.arm}
    numbers = zip(kept.classes, kept.scores, kept.xyxy, widths, heights, strict=True)
    return [
        owner
        | {"class": names[index], "score": float(score)}
        | dict(zip(("x0", "y0", "x1", "y1"), map(float, box), strict=True))
        | {"width_m": _null_if_nan(float(width)), "height_m": _null_if_nan(float(height))}
        | place
        for (index, score, box, width, height), place in zip(
            numbers, _places(corners, scene, crs), strict=True
        )
    ]


def _places(corners: Points, scene: Scene, crs: str) -> list[dict[str, Any]]:
    """Return geometry and bounding box of each quadrilateral (k, 4, 2) of the scene's CRS."""
    target = _map_crs(scene, crs)
    if scene.crs is not None and target is not None:
        corners = reproject(corners, scene.crs, target)
    placed: NDArray[np.bool_] = np.asarray(np.isfinite(corners).all(axis=(1, 2)))
    geometries = iter(corners_to_wkb(corners[placed]))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).tolist()
    return [
        {"geometry": next(geometries), "bbox": dict(zip(SIDES, box, strict=True))}
        if exists
        else {"geometry": None, "bbox": None}
        for exists, box in zip(placed, boxes, strict=True)
    ]


def _map_crs(scene: Scene, crs: str) -> str | None:
    """Return the CRS of a scene's geometries; a scene without one stays in pixels."""
    return scene.crs if scene.crs is None or crs == "scene" else crs


def _null_if_nan(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
