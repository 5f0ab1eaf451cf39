"""The tables of a run: their columns, types, units and meaning, as plain data."""

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = "4"

Type = Literal[
    "bool",
    "string",
    "int32",
    "int64",
    "float32",
    "float64",
    "binary",
    "struct",
    "list of struct",
    "list of int64",
    "list of float64",
]
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column; `fields` are those of a struct. A nullable column says when it is null."""

    name: str
    type: Type
    description: str
    unit: str = ""
    nullable: bool = False
    fields: tuple["Column", ...] = ()


@dataclass(frozen=True)
class Table:
    """One table: `order` are the columns by which rows are sorted, and which tell rows apart.

    A spatial table ends with a geometry and its bounding box, is GeoParquet, has one set of parts
    per CRS, and is sorted by place first.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    spatial: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """What one record adds to a table; `crs` is that of the geometries in `rows`."""

    key: str
    rows: list[Row] = field(default_factory=list)
    crs: str | None = None


KEY = Column("key", "string", "planned window: scene:col,row and :length@angle where blurred by us")
SCENE = Column("scene", "string", "name of the scene in this run")
ARM = Column(
    "arm",
    "string",
    "version of the tile: reference, before, null, unsharp, after, unskipped or oracle",
)
TRUTH = Column("truth", "string", "what the counts refer to: labels, reference or none")

SIDES = ("xmin", "ymin", "xmax", "ymax")

TAKEN = (
    Column("sequence", "string", "folder of a camera's pictures; null without one", "", True),
    Column("heading", "float64", "of the camera, clockwise from true north", "degree", True),
    Column("time", "string", "when the scene was taken, as RFC 3339", "", True),
)

PLACE = (
    Column(
        "geometry",
        "binary",
        "polygon as WKB, cut in two at 180 degrees, or the point of a camera; null where the CRS "
        "has no such place",
        "CRS",
        True,
    ),
    Column(
        "bbox",
        "struct",
        "bounding box of the geometry; xmin > xmax across 180 degrees",
        "CRS",
        nullable=True,
        fields=tuple(Column(name, "float64", f"{name} of the geometry", "CRS") for name in SIDES),
    ),
)

CLASS = Column("class", "string", "class name of the detector")

BOX = (
    Column("x0", "float32", "lowest column of the box, in the upright file", "px"),
    Column("y0", "float32", "lowest row of the box, in the upright file", "px"),
    Column("x1", "float32", "highest column of the box, in the upright file", "px"),
    Column("y1", "float32", "highest row of the box, in the upright file", "px"),
    Column("width_m", "float64", "first to second corner; null without a CRS", "m", True),
    Column("height_m", "float64", "second to third corner; null without a CRS", "m", True),
)

ARM_SUMS = (
    ARM,
    Column("squared_error", "float64", "sum, to the reference; null without one", "DN^2", True),
    Column("squared_error_samples", "int64", "samples behind it", "samples", True),
    Column("ssim_total", "float64", "sum of SSIM to the reference; null without one", "1", True),
    Column("ssim_samples", "int64", "pixels behind it", "pixels", True),
    Column("sharpness", "float64", "without a reference; null if nothing can be seen", "1", True),
    Column("detections", "int64", "owned by the core, at the operating point", "objects"),
    Column("labels", "int64", "true objects; null without a truth", "objects", True),
    Column("found", "int64", "labels found at the operating point", "objects", True),
    Column("false", "int64", "detections there that match no label", "objects", True),
    Column("stability_checked", "int64", "detections looked for again after a shift", "objects"),
    Column("stability_found", "int64", "those found again", "objects"),
)

TILES = Table(
    "tiles",
    "one row per planned window, measured or empty; nothing here depends on the machine",
    (
        KEY,
        SCENE,
        Column("col_off", "int64", "first column of the core, at the resolution read", "px"),
        Column("row_off", "int64", "first row of the core", "px"),
        Column("width", "int64", "columns of the core", "px"),
        Column("height", "int64", "rows of the core", "px"),
        Column("left", "float64", "lowest x of the core's corners", "scene CRS"),
        Column("bottom", "float64", "lowest y of the core's corners", "scene CRS"),
        Column("right", "float64", "highest x of the core's corners", "scene CRS"),
        Column("top", "float64", "highest y of the core's corners", "scene CRS"),
        Column("crs", "string", "CRS of the scene; null: coordinates are pixels", nullable=True),
        Column("blur_length", "float64", "blur applied by us; null if none", "px", True),
        Column("blur_angle", "float64", "its angle from +x, counter-clockwise", "degree", True),
        Column("severity", "int32", "its rung on the run's ladder; null if none", "", True),
        Column("cluster", "string", "tiles with the same one are resampled together"),
        TRUTH,
        Column("status", "string", "measured, or empty: no valid pixel in the core"),
        Column("valid_pixels", "int64", "pixels of the core that hold data", "px"),
        Column("judged_pixels", "int64", "those where labels are complete", "px"),
        Column("estimated_length", "float64", "blur read off the tile; null if empty", "px", True),
        Column("estimated_angle", "float64", "its angle, as of blur_angle", "degree", True),
        Column("estimated_confidence", "float64", "0: nothing could be said", "1", True),
        Column("skipped", "bool", "estimated sharp, so not deblurred: after is before"),
        Column("fallback", "string", "why after is before though deblurred; null if not", "", True),
        Column("kept", "int64", "objects in both arms, before and after", "objects"),
        Column("gained", "int64", "objects only in the arm after", "objects"),
        Column("lost", "int64", "objects only in the arm before", "objects"),
        Column("arms", "list of struct", "sums per arm; none if empty", fields=ARM_SUMS),
        *TAKEN,
        *PLACE,
    ),
    order=("key",),
    spatial=True,
)

DETECTIONS = Table(
    "detections",
    "one row per detection that a core owns, in every arm, from the least score up",
    (
        KEY,
        SCENE,
        ARM,
        CLASS,
        Column("score", "float32", "confidence in [0, 1]", "1"),
        Column("outcome", "string", "found, false or ignored; null without a truth", "", True),
        Column("label", "int64", "number of the label it took; null if none", "", True),
        *BOX,
        *TAKEN,
        *PLACE,
    ),
    order=("key", "arm", "score", "class", "x0", "y0", "x1", "y1", "geometry"),
    spatial=True,
)

LEDGER = Table(
    "ledger",
    "one row per object at the operating point in the arms before and after",
    (
        KEY,
        SCENE,
        Column("change", "string", "kept: in both arms; gained: only in after; lost: only before"),
        CLASS,
        Column(
            "score_before", "float32", "confidence in the arm before; null if gained", "1", True
        ),
        Column("score_after", "float32", "confidence in the arm after; null if lost", "1", True),
        Column("outcome_before", "string", "found, false or ignored; null if none", "", True),
        Column("outcome_after", "string", "found, false or ignored; null if none", "", True),
        Column("label_before", "int64", "number of the label taken; null if none", "", True),
        Column("label_after", "int64", "number of the label taken; null if none", "", True),
        Column("reblur", "string", "of the gained: consistent, inconsistent, undecided", "", True),
        Column("reblur_evidence", "float32", "share of its blurred signal in before", "1", True),
        Column("reblur_residual", "float32", "misfit, in units of the usual one", "1", True),
        *BOX,
        *TAKEN,
        *PLACE,
    ),
    order=(
        "key",
        "change",
        "class",
        "score_before",
        "score_after",
        "x0",
        "y0",
        "x1",
        "y1",
        "geometry",
    ),
    spatial=True,
)

SUMMARY = Table(
    "summary",
    "one row per metric, arm and stratum",
    (
        Column(
            "stratum", "string", "which tiles: all, or those of one blur, class, size or source"
        ),
        TRUTH,
        Column("arm", "string", "version of the tile, or the two that are compared"),
        Column("metric", "string", "what the value is"),
        Column("value", "float64", "null if not defined; inf: PSNR of equal pictures", "", True),
        Column("low", "float64", "lower end of the 95 % interval", "", True),
        Column("high", "float64", "upper end of the 95 % interval", "", True),
        Column("n", "int64", "labels, detections, objects, samples or tiles behind it", "1"),
        Column("clusters", "int64", "groups of tiles behind it, resampled together", "1"),
        Column("minimum_detectable", "float64", "least difference that would show", "", True),
        Column("p", "float64", "test that the difference is zero; null for others", "1", True),
        Column("p_holm", "float64", "the same for all strata of the number together", "1", True),
        Column("status", "string", "ok, or why the number must not be relied on"),
    ),
    order=("stratum", "truth", "metric", "arm"),
)

REJECTED = Table(
    "rejected",
    "one row per planned window, or scene that could not be opened, without a result",
    (
        KEY,
        SCENE,
        Column("stage", "string", "where it failed: open, read, deblur, mosaic, detect or measure"),
        Column("exception", "string", "type of the error"),
        Column("message", "string", "text of the error"),
        Column("replay", "string", "shell command that runs this window alone"),
    ),
    order=("key", "stage", "exception", "message"),
)

HISTOGRAMS = Table(
    "histograms",
    "one row per scene, blur, band and arm: levels, gradients and power of the valid pixels",
    (
        SCENE,
        TRUTH,
        Column("blur_length", "float64", "blur applied by us; null if none", "px", True),
        Column("blur_angle", "float64", "its angle from +x, counter-clockwise", "degree", True),
        Column("band", "string", "of the rendered picture: red, green or blue"),
        ARM,
        Column("pixels", "int64", "valid pixels that cores own", "px"),
        Column("counts", "list of int64", "of them by level, 0 to 255", "px"),
        Column("gradient_pixels", "int64", "of them those with four valid neighbours", "px"),
        Column(
            "gradient_counts",
            "list of int64",
            "of these by |gradient|: bins 1 DN/px wide to 32, 2 to 64, 4 to 96, 12 to 192",
            "px",
        ),
        Column("patches", "int64", "whole valid patches of 64 x 64 px behind the power", "1"),
        Column(
            "power",
            "list of float64",
            "mean power at 1/64, 2/64 ... 32/64 cycles per px; null without a patch",
            "DN^2 px^2",
            True,
        ),
        Column("w1_before", "float64", "Wasserstein-1 of levels, tiles with both arms", "DN", True),
        Column("w1_reference", "float64", "the same to the reference; null if none", "DN", True),
        Column("mean_shift", "float64", "mean level minus that of before, same tiles", "DN", True),
        Column("std_shift", "float64", "standard deviation minus that of before", "DN", True),
        Column("saturated_low", "float64", "share at 0; null without pixels", "1", True),
        Column("saturated_high", "float64", "share at 255; null without pixels", "1", True),
        Column(
            "comb_index",
            "float64",
            "share of unused levels between the lowest and the highest; null if none is between",
            "1",
            True,
        ),
        Column("levels", "int64", "levels that occur", "1"),
        Column("gradient_steep", "float64", "share from 24 DN/px up; null if none", "1", True),
        Column("gradient_w1_before", "float64", "Wasserstein-1 to before", "DN/px", True),
        Column("gradient_w1_reference", "float64", "the same to the reference", "DN/px", True),
        Column(
            "spectrum_ratio_before",
            "list of float64",
            "root of power over that of before, tiles with both arms; null where before has none",
            "1",
            True,
        ),
        Column(
            "spectrum_ratio_reference",
            "list of float64",
            "the same over the reference; null without one",
            "1",
            True,
        ),
    ),
    order=("scene", "truth", "blur_length", "blur_angle", "band", "arm"),
)

TABLES = (TILES, DETECTIONS, LEDGER, HISTOGRAMS, SUMMARY, REJECTED)
"""What a run writes, in the order in which it is published."""
