"""The numbers of a stratum: each once as measured, and once for every replicate of the bootstrap.

All arms and metrics share the weights of a replicate, so differences are paired.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial, reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from configs.schema import IntervalConfig
from transforms.functional.binned_curves import (
    average_precision,
    calibration_error,
    ratio,
    recall_at_precision,
    reliability,
)
from transforms.functional.bootstrap import cluster_weights
from transforms.functional.gain import CountStack, DetectionCounts
from transforms.functional.quality import RANGE, Mean, Quality
from transforms.measure import COCO_IOUS, Ruler
from transforms.records import ARMS, Arm, Truth
from transforms.sums import ArmSums, TileSums

MATCHED_PRECISION = 0.8
AT_PRECISION = f"_at_precision_{MATCHED_PRECISION:g}"
"""What stands behind the name of a metric that is read at this precision."""

Values = NDArray[np.float64]
Part = tuple[str, TileSums]
"""A cluster's name, and the sums of its tiles."""


@dataclass(frozen=True, eq=False)
class Number:
    """`values` float64 (1 + r,): the number, then its replicates.

    `n` is what stands behind it, in so many `clusters`.
    """

    values: Values
    n: int
    clusters: int

    def minus(self, other: "Number") -> "Number":
        """Return the difference, replicate by replicate; behind it stands the smaller n."""
        with np.errstate(invalid="ignore"):  # inf - inf: two pictures equal to the reference
            difference = self.values - other.values
        return Number(difference, min(self.n, other.n), min(self.clusters, other.clusters))

    def over(self, whole: "Number") -> "Number":
        """Return the share, replicate by replicate; nan where the whole is not positive."""
        values = np.where(whole.values > 0, ratio(self.values, whole.values), np.nan)
        return Number(values, self.n, self.clusters)


Numbers = dict[str, Number]


@dataclass(frozen=True, eq=False)
class Weighted:
    """The sums of a stratum by cluster, under the weights of the bootstrap.

    `weights` is float64 (1 + r, C); its first row is ones.
    """

    sums: Sequence[TileSums]
    weights: Values

    @staticmethod
    def of(parts: Sequence[Part], config: IntervalConfig) -> "Weighted":
        """Weight the clusters of a stratum; their order does not matter."""
        ordered = sorted(parts, key=lambda part: part[0])
        names = [name for name, _ in ordered]
        weights = cluster_weights(names, replicates=config.replicates, seed=config.seed)
        return Weighted([sums for _, sums in ordered], weights.astype(np.float64))

    @cached_property
    def total(self) -> TileSums:
        """Return the sum over all clusters of what belongs to no arm."""
        return reduce(add, (replace(sums, arms={}) for sums in self.sums), TileSums())

    @property
    def arms(self) -> list[Arm]:
        """Return the arms that ran in any cluster, in the order of `ARMS`."""
        return [arm for arm in ARMS if any(arm in sums.arms for sums in self.sums)]

    def count(self, of: Callable[[TileSums], int]) -> Number:
        """Return a plain count; behind it stand all tiles, also those that add nothing."""
        counts = np.array([of(sums) for sums in self.sums], np.float64)
        return Number(self.weights @ counts, self.total.tiles, len(self.sums))

    def mean(self, of: Callable[[TileSums], Mean]) -> Number:
        """Return a mean over all samples of the clusters."""
        means = [of(sums) for sums in self.sums]
        counts = np.array([mean.count for mean in means], np.float64)
        totals = np.array([float(mean.total) for mean in means])
        # Row by row, not as a product of matrices: that would round as the threads happen to add.
        values = ratio((self.weights * totals).sum(axis=1), self.weights @ counts)
        values[0] = reduce(add, means, Mean()).value
        return Number(values, int(counts.sum()), int((counts > 0).sum()))


def describe_arms(
    weighted: Weighted, *, truth: Truth, ruler: Ruler, curves: bool
) -> dict[Arm, Numbers]:
    """Return the numbers of every arm; arms with equal sums, as `before` and `null`, share them."""
    known: dict[Arm, Numbers] = {}
    for arm in weighted.arms:
        twin = next((other for other in known if _are_equal(weighted, arm, other)), None)
        known[arm] = (
            known[twin]
            if twin is not None
            else describe_arm(weighted, arm, truth=truth, ruler=ruler, curves=curves)
        )
    return known


def _are_equal(weighted: Weighted, arm: Arm, other: Arm) -> bool:
    return all(_arm(sums, arm).equals(_arm(sums, other)) for sums in weighted.sums)


def describe_arm(
    weighted: Weighted, arm: Arm, *, truth: Truth, ruler: Ruler, curves: bool
) -> Numbers:
    """Return the numbers of one arm; `curves` adds those by overlap, by distance and by score."""
    parts = [sums.arms.get(arm, ArmSums()) for sums in weighted.sums]
    numbers = _describe_pixels(weighted, arm)
    if truth != "none":
        found = _describe_detection(weighted, parts, ruler=ruler, curves=curves)
        numbers |= {f"{metric_prefix(truth)}{name}": number for name, number in found.items()}
    stable = weighted.mean(lambda sums: _arm(sums, arm).stability)
    return numbers | ({"stability": stable} if stable.n else {})


def metric_prefix(truth: Truth) -> str:
    """Return what stands before recall, precision and AP in the names of a run's metrics.

    Agreement with the detections on the sharp picture is called that, not recall.
    """
    return "" if truth == "labels" else "agreement_"


def describe_changes(weighted: Weighted, truth: Truth) -> Numbers:
    """Return how many objects were kept, gained and lost, and how the scores of the kept moved."""
    names = [f.name for f in fields(weighted.total.changes) if f.name != "score_shift"]
    if truth == "none":
        names = [name for name in names if not name.endswith(("_true", "_false"))]
    counted = {f"objects_{name}": weighted.count(partial(_change, name)) for name in names}
    shift = weighted.mean(lambda sums: sums.changes.score_shift)
    return counted | ({"score_shift": shift} if shift.n else {})


def _change(name: str, sums: TileSums) -> int:
    return int(getattr(sums.changes, name))


def _arm(sums: TileSums, arm: Arm) -> ArmSums:
    return sums.arms.get(arm, ArmSums())


def _describe_pixels(weighted: Weighted, arm: Arm) -> Numbers:
    error = weighted.mean(lambda sums: _arm(sums, arm).quality.squared_error)
    sharpness = weighted.mean(lambda sums: _arm(sums, arm).sharpness)
    numbers = {"sharpness": sharpness} if sharpness.n else {}
    if not error.n:
        return numbers
    with np.errstate(divide="ignore"):  # equal pictures: infinite
        decibels = 10 * np.log10(RANGE**2 / error.values)
    qualities = (_arm(sums, arm).quality for sums in weighted.sums)
    decibels[0] = reduce(add, qualities, Quality()).psnr
    numbers["psnr"] = Number(decibels, error.n, error.clusters)
    numbers["ssim"] = weighted.mean(lambda sums: _arm(sums, arm).quality.ssim)
    return numbers


def _describe_detection(
    weighted: Weighted, parts: Sequence[ArmSums], *, ruler: Ruler, curves: bool
) -> Numbers:
    classes = sorted({name for part in parts for name in part.counts})
    stacks = [_stack(parts, [name], weighted) for name in classes]
    total = _stack(parts, classes, weighted)
    if not total.labels.size:
        return {}
    average = _mean_precision(stacks, 0)
    found, false, _ = total.scores()
    matched = recall_at_precision(found, false, total.labels[:, 0], MATCHED_PRECISION)
    numbers = {
        "recall": _of_labels(total, ratio(total.found[:, 0], total.labels[:, 0])),
        "precision": _of_detections(total, _precision(total)),
        f"ap{round(100 * ruler.ious[0])}": _of_labels(total, average),
        f"recall{AT_PRECISION}": _of_labels(total, matched),
    }
    area = np.array([float(sums.area) for sums in weighted.sums])
    if area.any():
        every = (weighted.weights * area).sum(axis=1)
        numbers["false_per_km2"] = _of_detections(total, ratio(total.false[:, 0], every))
    return numbers | (_describe_curves(total, stacks, average, ruler) if curves else {})


def _describe_curves(
    total: CountStack, stacks: Sequence[CountStack], average: Values, ruler: Ruler
) -> Numbers:
    """Return AP50:95, recall by overlap and by distance of the centres, and the calibration.

    `average` is the average precision under the operating criterion, which is known already.
    """
    coco = [place for place, iou in enumerate(ruler.ious) if iou in COCO_IOUS]
    averages = [_mean_precision(stacks, place) if place else average for place in coco]
    numbers = {"ap50_95": _of_labels(total, np.mean(averages, axis=0))}
    for place in sorted(range(len(ruler.ious)), key=lambda place: ruler.ious[place]):
        recall = ratio(total.found[:, place], total.labels[:, place])
        numbers[f"recall_at_iou_{ruler.ious[place]:g}"] = _of_labels(total, recall)
    for place, distance in enumerate(ruler.distances, start=len(ruler.ious)):
        recall = ratio(total.found[:, place], total.labels[:, place])
        if total.labels[0, place]:
            numbers[f"recall_at_{distance:g}m"] = _of_labels(total, recall, place)
    return numbers | _describe_calibration(total)


def _describe_calibration(total: CountStack) -> Numbers:
    """Return the calibration error, and precision by tenths of the score, of all detections."""
    found, false, scores = total.scores()
    every = int((found + false)[0].sum())
    clusters = sum(bool(part.bins.count.any()) for part in total.parts)
    error = calibration_error(found, false, scores)
    numbers = {"calibration_error": Number(error, every, clusters)}
    true, detections = reliability(found, false, scores)
    for tenth in range(10):
        n = int(detections[0, tenth])
        if n:
            name = f"precision_of_scores_{tenth / 10:g}_{(tenth + 1) / 10:g}"
            numbers[name] = Number(true[:, tenth], n, clusters)
    return numbers


def _stack(parts: Sequence[ArmSums], names: Sequence[str], weighted: Weighted) -> CountStack:
    """Return the counts of some classes together, by cluster and replicate."""
    zero = DetectionCounts()
    counts = [reduce(add, (part.counts.get(name, zero) for name in names), zero) for part in parts]
    return CountStack.of(counts, weighted.weights)


def _mean_precision(stacks: Sequence[CountStack], criterion: int) -> Values:
    """Return the mean average precision over the classes that have labels, in each replicate."""
    averages = []
    for stack in stacks:
        found, false, _ = stack.scores(criterion)
        averages.append(average_precision(found, false, stack.labels[:, criterion]))
    each = np.array(averages)
    known = np.isfinite(each)
    return ratio(np.where(known, each, 0).sum(axis=0), known.sum(axis=0))


def _precision(total: CountStack) -> Values:
    return ratio(total.found[:, 0], total.found[:, 0] + total.false[:, 0])


def _of_labels(total: CountStack, values: Values, criterion: int = 0) -> Number:
    """Return a share of the labels, at most 1 in every replicate.

    A detection counts where it lies and its label where that lies: a replicate that draws the one
    cluster more often than the other could find more than there is.
    """
    clusters = sum(bool(part.labels[criterion]) for part in total.parts)
    shares = np.minimum(values, 1.0)
    return Number(shares, int(total.labels[0, criterion]), clusters)


def _of_detections(total: CountStack, values: Values) -> Number:
    clusters = sum(bool(part.found[0] + part.false[0]) for part in total.parts)
    return Number(values, int(total.found[0, 0] + total.false[0, 0]), clusters)
