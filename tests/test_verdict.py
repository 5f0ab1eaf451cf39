"""The table and the sentence at the end of a run say what the summary says."""

import pytest
from rich.console import Console

from pipeline.verdict import results_table, verdict
from transforms.records import ARMS, SummaryRow


def row(arm, metric, value, n=100, truth="labels"):
    return SummaryRow("all", truth, arm, metric, value, None, None, n, None)


def recalls(prefix="", matched=None, **values):
    """Return the recall of each arm, and the same at precision 0.8 unless `matched` differs."""
    truth = "reference" if prefix else "labels"
    at_precision = values | (matched or {})
    return [
        row(arm, f"{prefix}{metric}", value, truth=truth)
        for metric, shares in (("recall", values), ("recall_at_precision_0.8", at_precision))
        for arm, value in shares.items()
    ]


def text(rows):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(results_table(rows))
    return capture.get()


def test_what_blur_cost_and_what_came_back():
    said = verdict(recalls(reference=0.9, before=0.5, null=0.5, unsharp=0.55, after=0.7))
    assert "Blur cost 40.0 points of recall (from 0.900 to 0.500)" in said
    assert "+20.0 points, +50 % of the loss" in said
    assert "it beats every control (null +0.0 points, unsharp +5.0 points)" in said


def test_a_gain_counts_only_if_every_control_is_beaten():
    said = verdict(recalls(reference=0.9, before=0.5, null=0.5, unsharp=0.7, after=0.7))
    assert "it does not beat unsharp, so no gain counts" in said


def test_a_lower_bar_alone_beats_no_control():
    values = {"reference": 0.9, "before": 0.5, "null": 0.5, "unsharp": 0.5, "after": 0.7}
    said = verdict(recalls(matched={"after": 0.4}, **values))
    assert "it does not beat null and unsharp, so no gain counts" in said


def test_a_run_without_controls_says_so():
    assert "no control ran" in verdict(recalls(reference=0.9, before=0.5, after=0.7))


def test_a_loss_through_deblurring_is_said():
    said = verdict(recalls(reference=0.9, before=0.5, null=0.5, after=0.4))
    assert "-10.0 points, -25 % of the loss" in said


def test_without_a_reference_the_change_is_given():
    said = verdict(recalls(before=0.5, null=0.5, after=0.6))
    assert "Deblurring changed recall by +10.0 points (from 0.500 to 0.600)" in said


def test_blur_that_costs_nothing_is_said():
    assert "Blur cost no recall" in verdict(recalls(reference=0.5, before=0.5, null=0.5, after=0.5))


def test_agreement_is_called_agreement():
    said = verdict(recalls("agreement_", reference=1.0, before=0.5, null=0.5, after=0.6))
    assert "agreement recall" in said


def test_without_truth_nothing_is_claimed():
    counts = {"kept": 7, "gained": 2, "lost": 1}
    rows = [row("after", f"objects_{k}", v, truth="none") for k, v in counts.items()]
    said = verdict(rows)
    assert "kept 7 objects, added 2 and removed 1" in said
    assert "recall" not in said
    assert "gain" not in said.replace("again", "")
    assert "7" in text(rows)


def test_without_labels_recall_is_undefined():
    assert "recall is undefined" in verdict(recalls(before=None, null=None, after=None))


def test_without_any_tile_nothing_was_measured():
    assert "Nothing was measured" in verdict([])


@pytest.mark.parametrize("arm", ARMS)
def test_the_table_has_a_line_per_arm(arm):
    values = dict(zip(ARMS, (0.9, 0.5, 0.51, 0.55, 0.7, 0.8), strict=True))
    rows = recalls(**values)
    rows += [row(a, m, 0.25) for a in values for m in ("precision", "ap50", "ssim")]
    rows += [row(a, "psnr", float("inf") if a == "reference" else 31.4159) for a in values]
    line = next(line for line in text(rows).splitlines() if f" {arm} " in line)
    assert f"{values[arm]:.3f}" in line
    assert "100" in line
    assert ("inf" if arm == "reference" else "31.42") in line
