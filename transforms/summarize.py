"""Summarize: tile rows into one sum per stratum, and the sums into the numbers of the report."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add

import apache_beam as beam

from transforms.functional.gain import DetectionCounts
from transforms.functional.quality import Quality
from transforms.records import ARMS, CONTROLS, Arm, Changes, SummaryRow, TileRow, Truth

ALL = "all"
MATCHED_PRECISION = 0.8
AT_PRECISION = f"_at_precision_{MATCHED_PRECISION:g}"
"""What stands behind the name of a metric that is read at this precision."""
GAIN_ARMS: tuple[Arm, ...] = (*CONTROLS, "after", "oracle")


@dataclass(frozen=True, eq=False)
class ArmSums:
    """The sums of one arm: quality against the reference, counts by class against the truth."""

    quality: Quality = Quality()  # noqa: RUF009 - frozen, so safe to share
    counts: Mapping[str, DetectionCounts] = field(default_factory=dict)

    def __add__(self, other: "ArmSums") -> "ArmSums":
        return ArmSums(self.quality + other.quality, _add_by_key(self.counts, other.counts))

    @property
    def total(self) -> DetectionCounts:
        """Return the counts of all classes together."""
        return reduce(add, self.counts.values(), DetectionCounts())

    @property
    def mean_average_precision(self) -> float:
        """Return the mean over the classes that have labels; nan if none has."""
        scores = [c.average_precision for c in self.counts.values() if c.labels]
        return math.fsum(scores) / len(scores) if scores else math.nan


@dataclass(frozen=True, eq=False)
class TileSums:
    """Everything that a run reports, as a sum over tiles: `TileSums()` is the zero."""

    arms: Mapping[Arm, ArmSums] = field(default_factory=dict)
    changes: Changes = Changes()  # noqa: RUF009 - frozen, so safe to share
    tiles: int = 0
    empty: int = 0
    valid_pixels: int = 0

    def __add__(self, other: "TileSums") -> "TileSums":
        return TileSums(
            _add_by_key(self.arms, other.arms),
            self.changes + other.changes,
            self.tiles + other.tiles,
            self.empty + other.empty,
            self.valid_pixels + other.valid_pixels,
        )


Stratum = tuple[str, Truth]


def strata_of(row: TileRow) -> Iterator[tuple[Stratum, TileSums]]:
    """Yield the sums of one tile under every stratum that it belongs to."""
    sums = TileSums(
        arms={arm.arm: ArmSums(arm.quality or Quality(), arm.counts) for arm in row.arms},
        changes=row.changes,
        tiles=1,
        empty=int(row.status == "empty"),
        valid_pixels=row.valid_pixels,
    )
    strata = [ALL, f"scene={row.window.scene.name}"]
    if row.window.blur is not None:
        strata.append(f"blur_length={row.window.blur.length:g}")
        if row.window.blur.severity is not None:
            strata.append(f"severity={row.window.blur.severity}")
    for stratum in strata:
        yield (stratum, row.truth), sums


class SumFn(beam.CombineFn):
    """Add anything that has a zero and a `+`."""

    def __init__(self, zero: TileSums) -> None:
        self._zero = zero

    def create_accumulator(self) -> TileSums:
        """Return the zero."""
        return self._zero

    def add_input(self, accumulator: TileSums, element: TileSums) -> TileSums:
        """Add one element."""
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[TileSums]) -> TileSums:
        """Add partial sums."""
        return reduce(add, accumulators, self._zero)

    def extract_output(self, accumulator: TileSums) -> TileSums:
        """Return the sum."""
        return accumulator


def summarize(stratum: Stratum, sums: TileSums, *, iou: float) -> list[SummaryRow]:
    """Turn the sums of one stratum into rows, one per arm and metric.

    The words recall and gain appear only where there is a truth.
    """
    name, truth = stratum
    table = _Rows(name, truth)
    table.add("run", "tiles", sums.tiles, sums.tiles)
    table.add("run", "tiles_empty", sums.empty, sums.tiles)
    table.add("run", "valid_pixels", sums.valid_pixels, sums.tiles)
    for change, count in vars(sums.changes).items():
        table.add("after", f"objects_{change}", count, count)
    for arm in ARMS:
        if arm in sums.arms:
            _describe_quality(table, arm, sums.arms[arm].quality)
            if truth != "none":
                _describe_detection(table, arm, sums.arms[arm], iou)
    if truth != "none" and sums.arms:
        _describe_gain(table, sums.arms)
    rows = table.rows
    if name == ALL and truth != "none":
        rows = rows + _describe_classes(truth, sums, iou)
    return rows


def summarize_rows(rows: Iterable[TileRow], *, iou: float) -> list[SummaryRow]:
    """Describe every stratum of a list of tile rows: what `Summarize` does, in one process."""
    sums: dict[Stratum, TileSums] = {}
    for row in rows:
        for stratum, part in strata_of(row):
            sums[stratum] = sums.get(stratum, TileSums()) + part
    return [line for stratum, total in sums.items() for line in summarize(stratum, total, iou=iou)]


@dataclass
class Summarize(beam.PTransform):
    """Sum tile rows per stratum and describe each sum."""

    iou: float

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Map `TileRow` to `SummaryRow`."""
        return (
            rows
            | "Stratify" >> beam.FlatMap(strata_of)
            | "Sum" >> beam.CombinePerKey(SumFn(TileSums()))
            | "Describe" >> beam.FlatMapTuple(partial(summarize, iou=self.iou))
        )


@dataclass
class _Rows:
    stratum: str
    truth: Truth
    rows: list[SummaryRow] = field(default_factory=list)

    def add(self, arm: str, metric: str, value: float, n: int) -> None:
        known = None if math.isnan(value) else float(value)
        self.rows.append(
            SummaryRow(self.stratum, self.truth, arm, metric, known, None, None, n, None)
        )

    def add_counts(
        self, arm: Arm, prefix: str, counts: DetectionCounts, ap: float, iou: float
    ) -> None:
        self.add(arm, f"{prefix}recall", counts.recall, counts.labels)
        self.add(arm, f"{prefix}precision", counts.precision, counts.detections)
        self.add(arm, f"{prefix}ap{round(100 * iou)}", ap, counts.labels)
        matched = counts.recall_at_precision(MATCHED_PRECISION)
        self.add(arm, f"{prefix}recall{AT_PRECISION}", matched, counts.labels)


def _describe_quality(table: _Rows, arm: Arm, quality: Quality) -> None:
    if quality.squared_error.count:
        table.add(arm, "psnr", quality.psnr, quality.squared_error.count)
        table.add(arm, "ssim", quality.ssim.value, quality.ssim.count)


def _describe_detection(table: _Rows, arm: Arm, sums: ArmSums, iou: float) -> None:
    table.add_counts(arm, metric_prefix(table.truth), sums.total, sums.mean_average_precision, iou)


def _describe_gain(table: _Rows, arms: Mapping[Arm, ArmSums]) -> None:
    """Add every made arm minus before, and the share of the lost recall that came back."""
    prefix = metric_prefix(table.truth)
    totals = {arm: sums.total for arm, sums in arms.items()}
    before = totals["before"]
    for arm in [arm for arm in GAIN_ARMS if arm in totals]:
        gained = totals[arm].recall - before.recall
        table.add(arm, f"{prefix}recall_gain", gained, before.labels)
        if "reference" in totals:
            lost = totals["reference"].recall - before.recall
            share = gained / lost if lost > 0 else math.nan
            table.add(arm, f"{prefix}recall_returned", share, before.labels)
            after_quality, before_quality = arms[arm].quality, arms["before"].quality
            gain_db = after_quality.psnr - before_quality.psnr
            table.add(arm, "psnr_gain", gain_db, after_quality.squared_error.count)


def _describe_classes(truth: Truth, sums: TileSums, iou: float) -> list[SummaryRow]:
    names = sorted({name for arm in sums.arms.values() for name in arm.counts})
    rows: list[SummaryRow] = []
    for name in names:
        table = _Rows(f"class={name}", truth)
        for arm in ARMS:
            if arm in sums.arms:
                counts = sums.arms[arm].counts[name]
                table.add_counts(arm, metric_prefix(truth), counts, counts.average_precision, iou)
        rows += table.rows
    return rows


def metric_prefix(truth: Truth) -> str:
    """Return what stands before recall, precision and AP in the names of a run's metrics.

    Agreement with the detections on the sharp picture is called that, not recall.
    """
    return "" if truth == "labels" else "agreement_"


def _add_by_key(left: Mapping, right: Mapping) -> dict:
    return {
        key: left[key] + right[key]
        if key in left and key in right
        else (left.get(key) or right[key])
        for key in [*left, *(key for key in right if key not in left)]
    }
