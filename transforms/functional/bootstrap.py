"""How far a number could be off by chance: a paired bootstrap over clusters.

A cluster is what was drawn together: a scene, or a block of tiles where scenes are few. Every
replicate counts each cluster a random number of times, in every arm alike, so what the arms share
cancels in a gain. The counts are Poisson(1) (Hanley & MacGibbon 2006; Chamandy et al. 2012,
"Estimating uncertainty for massive data streams"), which needs no list of all clusters: sums of
replicates add up over tiles in any order. Objects of one cluster are never drawn one by one: they
succeed and fail together, and intervals that ignore this are too narrow.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

CONFIDENCE = 0.95
POWER = 0.8
LEAST_CLUSTERS = 12
"""With fewer clusters no interval is given: docs/results_intervals.md says what was measured."""

LARGEST_UNDEFINED_SHARE = 0.01
"""More replicates without a value than this, and those with one are no fair sample of all."""

POISSON_STEPS = np.rint(
    np.cumsum([1 / math.factorial(count) for count in range(12)]) / math.e * 2**32
).astype(np.uint32)
"""2**32 P(count <= k) for k = 0 ... 11; greater counts have 6e-11 in common, and become 12."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a number, in its unit.

    `p` is that of a two-sided test of zero, and `minimum_detectable` the true difference that such
    a test at 5 % would find in 80 % of all samples like this one; None where zero is no question.
    """

    low: float
    high: float
    standard_error: float
    p: float | None
    minimum_detectable: float | None


def poisson_weights(cluster: str, *, replicates: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each replicate counts a cluster: uint8 (replicates,), Poisson(1).

    The numbers depend on nothing but the arguments: they are the bytes of SHAKE-128 of
    "seed:cluster", four to an unsigned integer, through the inverse distribution function. Fewer
    replicates are the first of more.
    """
    digest = hashlib.shake_128(f"{seed}:{cluster}".encode()).digest(4 * replicates)
    uniform = np.frombuffer(digest, "<u4")
    return np.searchsorted(POISSON_STEPS, uniform, side="right").astype(np.uint8)


def cluster_weights(clusters: Sequence[str], *, replicates: int, seed: int) -> NDArray[np.uint8]:
    """Return how often each replicate counts each cluster: uint8 (1 + replicates, C).

    The first row is ones: the data as they are.
    """
    drawn = [poisson_weights(name, replicates=replicates, seed=seed) for name in clusters]
    once = np.ones((1, len(clusters)), np.uint8)
    return np.concatenate([once, np.array(drawn, np.uint8).reshape(len(clusters), replicates).T])


def interval(
    value: float, replicates: Floats, *, clusters: int, difference: bool
) -> Interval | None:
    """Return the interval of `value` from its `replicates`, float64 (r,), or None if too few.

    `clusters` is the number of clusters that have a part in the value: for a recall, those with
    labels. Replicates that are not finite (no label was drawn) are left out. None, that is
    insufficient, is for fewer than `LEAST_CLUSTERS` clusters, for more than
    `LARGEST_UNDEFINED_SHARE` of the replicates left out, and for a value that is not finite.

    The ends are percentiles of the replicates, so they stay in the range of the metric; which ones
    is widened for few clusters (Hesterberg 2015, The American Statistician 69(4)). The standard
    error is that of the replicates times sqrt(n / (n - 1)), n clusters. `p`, for a `difference`
    only, is that of value / standard error under Student's t with n - 1 degrees of freedom.
    """
    defined = replicates[np.isfinite(replicates)]
    enough = defined.size >= max(2, (1 - LARGEST_UNDEFINED_SHARE) * replicates.size)
    if not enough or clusters < LEAST_CLUSTERS or not math.isfinite(value):
        return None
    tail = expanded_tail(clusters)
    low, high = np.quantile(defined, [tail, 1 - tail])
    error = float(defined.std(ddof=1)) * math.sqrt(clusters / (clusters - 1))
    return Interval(
        low=float(low),
        high=float(high),
        standard_error=error,
        p=_two_sided_p(value, error, clusters) if difference else None,
        minimum_detectable=_detectable(error, clusters) if difference else None,
    )


def expanded_tail(clusters: int) -> float:
    """Return the share of replicates beyond each end of the interval.

    It is Phi(-sqrt(n / (n - 1)) t), t Student's quantile of n - 1 degrees of freedom (Hesterberg
    2015): 0.025 for very many clusters n, less for few, where replicates vary less than samples do.
    """
    quantile = stdtrit(clusters - 1, (1 + CONFIDENCE) / 2)
    return float(ndtr(-math.sqrt(clusters / (clusters - 1)) * quantile))


def _two_sided_p(value: float, error: float, clusters: int) -> float:
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(clusters - 1, -abs(value) / error))


def _detectable(error: float, clusters: int) -> float:
    significant, powerful = stdtrit(clusters - 1, [(1 + CONFIDENCE) / 2, POWER])
    return float((significant + powerful) * error)
