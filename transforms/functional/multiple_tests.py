"""Many questions at once: p-values that keep the chance of any false alarm."""

from collections.abc import Sequence


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted by Holm's step-down rule, in the order given.

    Of m tests the k-th smallest p (k from 0) becomes the largest of (m - j) p_(j) over j <= k, at
    most 1 (Holm 1979, Scandinavian Journal of Statistics 6(2)). Rejecting those <= alpha keeps the
    chance of any false rejection at alpha, however the tests depend on each other. None was not
    tested: it stays None and does not count.
    """
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * value))
        adjusted[place] = largest
    return adjusted
