"""Robust limits: how far a number may lie from the median of earlier ones by chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

TO_DEVIATION = 2.2219
"""Times the quantile of distances that `spread` takes, this is a normal standard deviation."""
SMALL = {2: 0.399, 3: 0.994, 4: 0.512, 5: 0.844, 6: 0.611, 7: 0.857, 8: 0.669, 9: 0.872}
"""What that product is multiplied by for so many numbers; by a formula for more."""
FREEDOM = 0.6
"""Degrees of freedom of `spread` for each number but the first, as simulated for 4 to 20 of them:
a variance has 1, the median absolute deviation 0.4."""
IN_INTERVAL = 2 * 1.959964
"""Standard errors in a 95 % interval."""


@dataclass(frozen=True)
class Usual:
    """What `runs` earlier numbers were: their median, and how they spread around it."""

    median: float
    spread: float
    runs: int

    @staticmethod
    def of(values: Sequence[float]) -> "Usual":
        """Describe at least two numbers."""
        array = np.asarray(values, np.float64)
        return Usual(float(np.median(array)), spread(array), len(array))

    def reach(self, deviations: float) -> float:
        """Return how far from the median another such number lies as seldom as `deviations` says.

        A normal number is beyond so many standard deviations with some probability; here it is
        about the same though median and spread are known from few numbers only, by Student's t.

        >>> round(Usual(0.0, 1.0, 10_000).reach(3), 1), round(Usual(0.0, 1.0, 14).reach(3), 1)
        (3.0, 4.3)
        """
        return self.spread * float(stdtrit(FREEDOM * (self.runs - 1), ndtr(deviations)))


def spread(values: NDArray[np.float64]) -> float:
    """Return the estimate Qn of the standard deviation (Rousseeuw and Croux, JASA 88, 1993).

    It is a quantile, about the lower quarter, of the distances of all pairs, so almost half of the
    numbers may be anything. It is as sharp from 14 numbers as the median absolute deviation is
    from 22, which is the better known one.
    """
    n = len(values)
    half = n // 2 + 1
    rank = half * (half - 1) // 2
    first, second = np.triu_indices(n, 1)
    distance = np.sort(np.abs(values[first] - values[second]))[rank - 1]
    small = SMALL.get(n) or (n / (n + 1.4) if n % 2 else n / (n + 3.8))
    return TO_DEVIATION * small * float(distance)


def standard_error(low: float | None, high: float | None) -> float:
    """Return the standard error behind a 95 % interval; 0 where there is none."""
    if low is None or high is None or not math.isfinite(high - low):
        return 0.0
    return (high - low) / IN_INTERVAL
