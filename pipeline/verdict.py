"""The table for people at the end of a run, and the answer in one sentence."""

from collections.abc import Sequence

from rich.table import Table

from transforms.numbers import AT_PRECISION, MATCHED_PRECISION, metric_prefix
from transforms.records import ARMS, CONTROLS, SummaryRow, Truth
from transforms.strata import ALL, CONTROLLED

Numbers = dict[tuple[str, str], SummaryRow]


def overall(rows: Sequence[SummaryRow]) -> tuple[Truth, Numbers]:
    """Return the truth mode of a run and its rows over everything, by (arm, metric).

    Numbers that compare with arms which ran on a sample of the tiles are those of that sample.
    """
    everything = [row for row in rows if row.stratum == ALL]
    if not everything:
        return "none", {}
    # Tiles without data have no labels of their own; a run is described by its strongest truth.
    truths: tuple[Truth, ...] = ("labels", "reference", "none")
    truth = next(t for t in truths if any(row.truth == t for row in everything))
    sampled = [row for row in rows if row.stratum == CONTROLLED]
    return truth, {
        (row.arm, row.metric): row for row in [*sampled, *everything] if row.truth == truth
    }


def results_table(rows: Sequence[SummaryRow]) -> Table:
    """Return arm x (recall, precision, AP, PSNR, SSIM, n) or, without truth, the changes."""
    truth, numbers = overall(rows)
    if truth == "none":
        return _changes_table(numbers)
    prefix = metric_prefix(truth)
    metrics = {m for _, m in numbers if m.removeprefix(f"{prefix}ap").isdigit()}
    ap = next(iter(metrics), f"{prefix}ap50")
    columns = (f"{prefix}recall", f"{prefix}precision", ap, "psnr", "ssim")
    table = Table(title="Detection and quality by arm", title_justify="left")
    table.add_column("arm")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    table.add_column("n", justify="right")
    for arm in ARMS:
        if (arm, columns[0]) in numbers:
            cells = [_format(numbers.get((arm, column)), column) for column in columns]
            table.add_row(arm, *cells, str(numbers[arm, columns[0]].n))
    return table


def verdict(rows: Sequence[SummaryRow]) -> str:
    """Say in one sentence what deblurring did to detection."""
    truth, numbers = overall(rows)
    if not numbers:
        return "Nothing was measured: no tile had valid pixels."
    if truth == "none":
        return (
            f"{_describe_objects(numbers)} Without labels or a sharp reference nobody can say "
            "which of them are true."
        )
    judged = _verdict_with_truth(f"{metric_prefix(truth)}recall", numbers)
    return f"{judged} {_describe_objects(numbers)}".strip()


def _describe_objects(numbers: Numbers) -> str:
    """Say how many objects were kept, added and removed, and how many of the added are doubted."""
    kept, gained, lost, doubted, false = (
        _value(numbers, "after", f"objects_{change}")
        for change in ("kept", "gained", "lost", "gained_inconsistent", "gained_false")
    )
    if kept is None or gained is None or lost is None:
        return ""
    doubts = [] if false is None else [f"{false:.0f} false"]
    doubts += [] if doubted is None else [f"{doubted:.0f} that fail the re-blur check"]
    added = f"added {gained:.0f}" + (f" ({', '.join(doubts)})" if doubts else "")
    return f"Deblurring kept {kept:.0f} objects, {added} and removed {lost:.0f}."


def _verdict_with_truth(recall: str, numbers: Numbers) -> str:
    word = recall.replace("_", " ")
    before, after = _value(numbers, "before", recall), _value(numbers, "after", recall)
    if before is None or after is None:
        return f"There are no labels in the measured area, so {word} is undefined."
    gain = numbers["after", f"{recall}_gain"]
    change = f"Deblurring changed {word} by {_points(gain)}"
    controls = _compare_controls(recall, numbers)
    sharp = _value(numbers, "reference", recall)
    if sharp is None:
        return f"{change} (from {before:.3f} to {after:.3f}); {controls}."
    lost = sharp - before
    if lost <= 0:
        start = f"Blur cost no {word} here ({sharp:.3f} sharp, {before:.3f} blurred)"
        return f"{start}. {change}; {controls}."
    return (
        f"Blur cost {100 * lost:.1f} points of {word} (from {sharp:.3f} to {before:.3f}); "
        f"deblurring changed it by {_points(gain)}, "
        f"{100 * (after - before) / lost:+.0f} % of the loss; {controls}."
    )


def _compare_controls(recall: str, numbers: Numbers) -> str:
    """Say which controls `after` beats: only if it beats all of them does a gain count."""
    ran = [arm for arm in CONTROLS if (arm, recall) in numbers]
    missing = [arm for arm in CONTROLS if arm not in ran]
    if missing:
        return f"{' and '.join(missing)} did not run, so nobody can say whether deblurring did that"
    shown = ", ".join(_over(arm, recall, numbers) for arm in ran)
    beaten = [arm for arm in ran if beats(numbers, "after", arm, recall)]
    if len(beaten) == len(ran):
        return f"it beats every control ({shown})"
    if any(numbers["after", f"{recall}_over_{arm}"].low is None for arm in ran):
        return f"too few independent tiles for an interval, so no gain counts ({shown})"
    others = " and ".join(_unbeaten(arm, recall, numbers) for arm in ran if arm not in beaten)
    return f"it does not beat {others}, so no gain counts ({shown})"


def beats(numbers: Numbers, arm: str, control: str, recall: str) -> bool:
    """Say whether an arm is above a control in recall and in recall at matched precision.

    In both, because a lower bar alone also finds more; and with the whole 95 % interval of the
    paired difference above zero.
    """
    metrics = (f"{recall}_over_{control}", f"{recall}{AT_PRECISION}_over_{control}")
    rows = [numbers.get((arm, metric)) for metric in metrics]
    return all(row is not None and row.low is not None and row.low > 0 for row in rows)


def _unbeaten(control: str, recall: str, numbers: Numbers) -> str:
    """Return a control's name, and that it holds out at matched precision alone if it does."""
    low = numbers["after", f"{recall}_over_{control}"].low
    return f"{control} at precision {MATCHED_PRECISION:g}" if low and low > 0 else control


def _over(control: str, recall: str, numbers: Numbers) -> str:
    return f"{_points(numbers['after', f'{recall}_over_{control}'])} over {control}"


def _changes_table(numbers: Numbers) -> Table:
    table = Table(title="Objects at the operating point (no truth given)", title_justify="left")
    table.add_column("change")
    table.add_column("objects", justify="right")
    for change in ("kept", "gained", "lost"):
        table.add_row(change, _format(numbers.get(("after", f"objects_{change}")), "count"))
    return table


def _value(numbers: Numbers, arm: str, metric: str) -> float | None:
    row = numbers.get((arm, metric))
    return None if row is None else row.value


def _format(row: SummaryRow | None, metric: str) -> str:
    if row is None or row.value is None:
        return "-"
    if metric == "count":
        return f"{row.value:.0f}"
    return f"{row.value:.2f}" if metric == "psnr" else f"{row.value:.3f}"


def _points(row: SummaryRow) -> str:
    """Return a difference in points of a hundred, with its interval where there is one."""
    if row.value is None:
        return "an undefined amount"
    shown = f"{100 * row.value:+.1f} points"
    if row.low is None or row.high is None:
        return f"{shown} (no interval)"
    return f"{shown} (95 %: {100 * row.low:+.1f} to {100 * row.high:+.1f})"
