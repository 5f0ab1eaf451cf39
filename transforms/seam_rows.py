"""The rows of `summary` that say whether tiles show where they meet, and the gate on them."""

import math
from collections.abc import Iterator, Sequence

from transforms.functional.seams import LEAST_LINES, Seams
from transforms.records import SummaryRow
from transforms.strata import ALL, Stratum
from transforms.summarize import OK

LEAST_PAIRS = 100
"""Numbers from fewer pairs of pixels across borders are marked insufficient."""

EXCESS = "seam_excess"


def seam_rows(stratum: Stratum, seams: Seams) -> Iterator[SummaryRow]:
    """Yield `seam_ratio` of `before` and of `after`, and `seam_excess` with its interval."""
    before, after = seams.jumps.ratios
    yield _row(stratum, "before", "seam_ratio", before, seams)
    yield _row(stratum, "after", "seam_ratio", after, seams)
    yield _row(stratum, "after", EXCESS, seams.excess, seams, seams.interval())


def worst_seam(rows: Sequence[SummaryRow], limit: float | None) -> str:
    """Say which scene, or the run as a whole, has seams beyond the limit, and what helps.

    Empty where none has, where nobody can know (too few pairs or lines, or an interval that
    includes 1), and without a limit.
    """
    seams = {
        row.stratum: row.value
        for row in rows
        if row.metric == EXCESS and row.status == OK and row.value is not None
        # With an interval that includes 1 it may be the scene that changes there.
        if row.low is not None and row.low > 1
    }
    if limit is None or not seams:
        return ""
    stratum, value = max(seams.items(), key=lambda item: (item[1], item[0]))
    if value <= limit:
        return ""
    where = "all scenes together" if stratum == ALL else f"scene {stratum.partition('=')[2]}"
    return (
        f"Tiles show where they meet: in {where} deblurring made the jumps across the borders of "
        f"cores {value:.2f} times what they were beside those inside, and measure.seams allows "
        f"{limit:g}. Give the tiles a greater halo (read.halo), or norms that are the same for all "
        "tiles of a scene (deblur.normalisation: frozen or scene)."
    )


def _row(
    stratum: Stratum,
    arm: str,
    metric: str,
    value: float,
    seams: Seams,
    interval: tuple[float, float] | None = None,
) -> SummaryRow:
    name, truth = stratum
    low, high = interval or (None, None)
    none = dict.fromkeys(("minimum_detectable", "p", "p_holm"))
    return SummaryRow(
        stratum=name,
        truth=truth,
        arm=arm,
        metric=metric,
        value=None if math.isnan(value) else value,
        low=low,
        high=high,
        n=seams.jumps.across_pairs,
        clusters=seams.lines,
        status=_status(metric, seams),
        **none,
    )


def _status(metric: str, seams: Seams) -> str:
    if seams.jumps.across_pairs < LEAST_PAIRS:
        return f"insufficient: n < {LEAST_PAIRS}"
    if metric == EXCESS and seams.lines < LEAST_LINES:
        return f"no interval: fewer than {LEAST_LINES} lines of borders"
    return OK
