"""Summarize: tile rows into sums per stratum and cluster, and the sums into the report's numbers.

row -> its sums by (stratum, cluster) -> added up -> by stratum -> numbers -> Holm over strata
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add

import apache_beam as beam

from configs.schema import MeasureConfig
from transforms.functional.bootstrap import interval
from transforms.functional.multiple_tests import holm
from transforms.numbers import (
    Number,
    Numbers,
    Part,
    Weighted,
    describe_arms,
    describe_changes,
    metric_prefix,
)
from transforms.records import CONTROLS, Arm, SummaryRow, TileRow
from transforms.strata import ALL, AUDITED, CONTROLLED, Stratifier, Stratum, strata_of
from transforms.sums import TileSums

MADE: tuple[Arm, ...] = (*CONTROLS, "after", "unskipped", "oracle")
"""The arms made of `before`: each is compared with it."""
OK = "ok"
SUM = "run"
"""What stands as the arm of numbers that belong to no arm."""

Family = tuple[str, str, str]
"""Truth, arm and metric: the strata that are tested together."""


@dataclass(frozen=True)
class Reporter:
    """What turns the sums of a stratum into its rows."""

    stratifier: Stratifier
    config: MeasureConfig


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


@dataclass
class Summarize(beam.PTransform):
    """Sum tile rows per stratum and cluster, describe each stratum, and adjust over all."""

    reporter: Reporter

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Map `TileRow` to `SummaryRow`."""
        return (
            rows
            | "Stratify" >> beam.FlatMap(strata_of, self.reporter.stratifier)
            | "Sum" >> beam.CombinePerKey(SumFn(TileSums()))
            | "ByStratum" >> beam.MapTuple(by_stratum)
            | "Clusters" >> beam.GroupByKey()
            | "Describe" >> beam.FlatMapTuple(partial(summarize, reporter=self.reporter))
            | "ByFamily" >> beam.Map(by_family)
            | "Strata" >> beam.GroupByKey()
            | "Adjust" >> beam.FlatMapTuple(adjust_family)
        )


def summarize_rows(rows: Iterable[TileRow], reporter: Reporter) -> list[SummaryRow]:
    """Do what `Summarize` does, in one process."""
    sums: dict[tuple[Stratum, str], TileSums] = {}
    for row in rows:
        for key, part in strata_of(row, reporter.stratifier):
            sums[key] = sums.get(key, TileSums()) + part
    strata: dict[Stratum, list[Part]] = defaultdict(list)
    for (stratum, cluster), total in sums.items():
        strata[stratum].append((cluster, total))
    families: dict[Family, list[SummaryRow]] = defaultdict(list)
    for stratum, parts in strata.items():
        for line in summarize(stratum, parts, reporter=reporter):
            families[by_family(line)[0]].append(line)
    return [line for family, lines in families.items() for line in adjust_family(family, lines)]


def by_stratum(key: tuple[Stratum, str], sums: TileSums) -> tuple[Stratum, Part]:
    """Move the cluster from the key to the value."""
    stratum, cluster = key
    return stratum, (cluster, sums)


def by_family(row: SummaryRow) -> tuple[Family, SummaryRow]:
    """Return the strata's common name of a number, and the number."""
    return (row.truth, row.arm, row.metric), row


def adjust_family(family: Family, rows: Iterable[SummaryRow]) -> Iterator[SummaryRow]:
    """Adjust the tests of one difference for the number of strata (Holm 1979).

    The whole run is no stratum of itself, and neither are those of insufficient numbers.
    """
    ordered = sorted(rows, key=lambda row: row.stratum)
    tested = [row.p if row.stratum != ALL and row.status == OK else None for row in ordered]
    for row, adjusted in zip(ordered, holm(tested), strict=True):
        yield replace(row, p_holm=adjusted)


def summarize(
    stratum: Stratum, parts: Iterable[Part], *, reporter: Reporter
) -> Iterator[SummaryRow]:
    """Turn the sums of one stratum into rows, one per arm and metric.

    The words recall and gain appear only where there is a truth.
    """
    name, truth = stratum
    weighted = Weighted.of(list(parts), reporter.config.interval)
    row = partial(_row, stratum=stratum, least=reporter.config.least)
    total = weighted.total
    counts = {
        "tiles": total.tiles,
        "tiles_empty": total.empty,
        "tiles_skipped": total.skipped,
        "tiles_fallback": total.fallback,
        "valid_pixels": total.valid_pixels,
        "skipped_pixels": total.skipped_pixels,
    }
    for metric, count in counts.items():
        yield _plain(stratum, metric, count, total.tiles)
    for metric, number in describe_changes(weighted, truth).items():
        yield row("after", metric, number)
    curves = _has_curves(name)
    ruler = reporter.stratifier.ruler
    numbers = describe_arms(weighted, truth=truth, ruler=ruler, curves=curves)
    for arm, known in numbers.items():
        for metric, number in known.items():
            yield row(arm, metric, number)
    for arm, metric, number in _differences(numbers, truth):
        yield row(arm, metric, number, difference=True)
    for arm, number in _returned(numbers, f"{metric_prefix(truth)}recall"):
        yield row(arm, f"{metric_prefix(truth)}recall_returned", number)


def _has_curves(name: str) -> bool:
    """Say whether a stratum gets the numbers by overlap, distance and score as well."""
    blurred = name.startswith(("severity=", "blur_length="))
    return name in (ALL, CONTROLLED, AUDITED) or blurred


def _differences(numbers: Mapping[Arm, Numbers], truth: str) -> Iterator[tuple[Arm, str, Number]]:
    """Yield every made arm minus `before`, and `after` minus the controls, metric by metric."""
    word = "change" if truth == "none" else "gain"
    pairs: list[tuple[Arm, Arm, str]] = [(arm, "before", f"_{word}") for arm in MADE]
    pairs += [("after", arm, f"_over_{arm}") for arm in (*CONTROLS, "unskipped")]
    for arm, base, suffix in pairs:
        if arm in numbers and base in numbers:
            for metric in (m for m in numbers[arm] if m in numbers[base]):
                difference = numbers[arm][metric].minus(numbers[base][metric])
                yield arm, f"{metric}{suffix}", difference


def _returned(numbers: Mapping[Arm, Numbers], recall: str) -> Iterator[tuple[Arm, Number]]:
    """Yield the share of the recall that blur took which each made arm gives back."""
    if "reference" not in numbers or recall not in numbers["reference"]:
        return
    lost = numbers["reference"][recall].minus(numbers["before"][recall])
    if not lost.values[0] > 0:
        return
    for arm in (arm for arm in MADE if arm in numbers):
        gained = numbers[arm][recall].minus(numbers["before"][recall])
        yield arm, gained.over(lost)


def _row(
    arm: str,
    metric: str,
    number: Number,
    *,
    stratum: Stratum,
    least: int,
    difference: bool = False,
) -> SummaryRow:
    name, truth = stratum
    value = float(number.values[0])
    known = interval(value, number.values[1:], clusters=number.clusters, difference=difference)
    status = OK
    if number.n < least:
        status = f"insufficient: n < {least}"
    elif known is None:
        status = "no interval: too few clusters, or undefined"
    return SummaryRow(
        stratum=name,
        truth=truth,
        arm=arm,
        metric=metric,
        value=None if math.isnan(value) else value,
        low=None if known is None else known.low,
        high=None if known is None else known.high,
        n=number.n,
        clusters=number.clusters,
        minimum_detectable=None if known is None else known.minimum_detectable,
        p=None if known is None else known.p,
        p_holm=None,
        status=status,
    )


def _plain(stratum: Stratum, metric: str, count: int, tiles: int) -> SummaryRow:
    """Return a count of the run, which is known and not estimated."""
    name, truth = stratum
    none = dict.fromkeys(("low", "high", "minimum_detectable", "p", "p_holm"))
    return SummaryRow(
        stratum=name,
        truth=truth,
        arm=SUM,
        metric=metric,
        value=float(count),
        n=tiles,
        clusters=0,
        status=OK,
        **none,
    )
