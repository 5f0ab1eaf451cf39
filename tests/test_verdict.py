"""The table and the sentence at the end of a run say what the summary says."""

import pytest
from rich.console import Console

from pipeline.verdict import beats, overall, results_table, verdict
from transforms.records import ARMS, CONTROLS, SummaryRow
from transforms.strata import ALL, CONTROLLED

MATCHED = "recall_at_precision_0.8"


def row(arm, metric, value, *, low=None, high=None, n=100, truth="labels", stratum=ALL):
    numbers = {"minimum_detectable": None, "p": None, "p_holm": None}
    return SummaryRow(
        stratum=stratum,
        truth=truth,
        arm=arm,
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=n,
        clusters=20,
        status="ok",
        **numbers,
    )


def recalls(prefix="", *, matched=None, width=0.02, controls=CONTROLS, stratum=ALL, **values):
    """Return the recall of each arm and its gains, each interval `width` to either side.

    Recall at precision 0.8 is the same unless `matched` differs; without a width there are none.
    """
    truth = "reference" if prefix else "labels"
    rows = []
    for metric, shares in (("recall", values), (MATCHED, values | (matched or {}))):
        known = {arm: share for arm, share in shares.items() if share is not None}
        rows += [
            row(arm, f"{prefix}{metric}", shares[arm], truth=truth, stratum=stratum)
            for arm in shares
        ]
        differences = {f"{prefix}{metric}_gain": "before"}
        differences |= {f"{prefix}{metric}_over_{arm}": arm for arm in controls}
        for name, base in differences.items():
            if "after" in known and base in known:
                value = known["after"] - known[base]
                ends = {} if width is None else {"low": value - width, "high": value + width}
                rows.append(row("after", name, value, truth=truth, stratum=stratum, **ends))
    return rows


def text(rows):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(results_table(rows))
    return capture.get()


FIVE = {"reference": 0.9, "before": 0.5, "null": 0.5, "unsharp": 0.55, "after": 0.7}


def test_what_blur_cost_and_what_came_back_stand_with_their_interval():
    said = verdict(recalls(**FIVE))
    assert "Blur cost 40.0 points of recall (from 0.900 to 0.500)" in said
    assert "+20.0 points (95 %: +18.0 to +22.0), +50 % of the loss" in said
    assert "it beats every control" in said
    assert "+20.0 points (95 %: +18.0 to +22.0) over null" in said
    assert "+15.0 points (95 %: +13.0 to +17.0) over unsharp" in said


def test_a_gain_counts_only_if_every_control_is_beaten():
    said = verdict(recalls(**FIVE | {"unsharp": 0.7}))
    assert "it does not beat unsharp, so no gain counts" in said


def test_an_interval_that_reaches_zero_beats_nothing():
    said = verdict(recalls(width=0.16, **FIVE))
    assert "it does not beat unsharp, so no gain counts" in said
    assert "it does not beat null and unsharp, so" in verdict(recalls(width=0.2, **FIVE))


def test_a_lower_bar_alone_beats_no_control():
    said = verdict(recalls(matched={"after": 0.4}, **FIVE))
    both = "null at precision 0.8 and unsharp at precision 0.8"
    assert f"it does not beat {both}, so no gain counts" in said


def test_a_higher_bar_alone_beats_no_control():
    said = verdict(recalls(matched={"after": 0.9}, **FIVE | {"after": 0.45}))
    assert "it does not beat null and unsharp, so no gain counts" in said


def test_without_an_interval_no_gain_counts():
    said = verdict(recalls(width=None, **FIVE))
    assert "too few independent tiles for an interval, so no gain counts" in said
    assert "+20.0 points (no interval)" in said
    assert "beat" not in said


@pytest.mark.parametrize("missing", [("null",), ("unsharp",), ("null", "unsharp")])
def test_a_run_without_a_control_says_that_nobody_can_say(missing):
    said = verdict(recalls(**{arm: FIVE[arm] for arm in FIVE if arm not in missing}))
    assert f"{' and '.join(missing)} did not run, so nobody can say" in said
    assert "beat" not in said


@pytest.mark.parametrize("metric", ["recall", MATCHED])
def test_both_recalls_are_needed_to_beat_a_control(metric):
    rows = recalls(**FIVE)
    _, numbers = overall(rows)
    assert beats(numbers, "after", "null", "recall")
    del numbers["after", f"{metric}_over_null"]
    assert not beats(numbers, "after", "null", "recall")
    assert beats(numbers, "after", "unsharp", "recall")


def test_a_loss_through_deblurring_is_said():
    said = verdict(recalls(**FIVE | {"after": 0.4}))
    assert "-10.0 points (95 %: -12.0 to -8.0), -25 % of the loss" in said
    assert "it does not beat null and unsharp" in said


def test_without_a_reference_the_change_is_given():
    said = verdict(recalls(before=0.5, null=0.5, unsharp=0.5, after=0.6))
    assert "Deblurring changed recall by +10.0 points (95 %: +8.0 to +12.0)" in said
    assert "(from 0.500 to 0.600)" in said


def test_blur_that_costs_nothing_is_said():
    said = verdict(recalls(**FIVE | {"reference": 0.5, "after": 0.5}))
    assert "Blur cost no recall here (0.500 sharp, 0.500 blurred)" in said
    assert "of the loss" not in said


def test_agreement_is_called_agreement():
    said = verdict(recalls("agreement_", reference=1.0, before=0.5, null=0.5, after=0.6))
    assert "agreement recall" in said
    assert "points of recall" not in said


def test_without_truth_nothing_is_claimed():
    counts = {"kept": 7, "gained": 2, "lost": 1}
    rows = [row("after", f"objects_{k}", v, truth="none") for k, v in counts.items()]
    said = verdict(rows)
    assert "kept 7 objects, added 2 and removed 1" in said
    assert "recall" not in said
    assert "gain" not in said.replace("again", "")
    assert "7" in text(rows)


def test_added_objects_are_told_with_what_speaks_against_them():
    counts = {"kept": 7, "gained": 5, "lost": 1, "gained_inconsistent": 2}
    unknown = [row("after", f"objects_{k}", v, truth="none") for k, v in counts.items()]
    assert "added 5 (2 that fail the re-blur check) and removed 1" in verdict(unknown)
    known = [row("after", f"objects_{k}", v) for k, v in (counts | {"gained_false": 3}).items()]
    said = verdict([*recalls(**FIVE), *known])
    assert said.endswith(
        "Deblurring kept 7 objects, added 5 (3 false, 2 that fail the re-blur check) and removed 1."
    )


def test_without_labels_recall_is_undefined():
    assert "recall is undefined" in verdict(recalls(before=None, null=None, after=None))


def test_without_any_tile_nothing_was_measured():
    assert "Nothing was measured" in verdict([])


def test_only_the_whole_run_is_told():
    elsewhere = recalls(stratum="class=car", **FIVE | {"after": 0.1})
    assert verdict([*elsewhere, *recalls(**FIVE)]) == verdict(recalls(**FIVE))
    assert "Nothing was measured" in verdict(elsewhere)


def test_controls_that_ran_on_a_sample_are_compared_there():
    """The run as a whole has no controls; the sampled tiles have a gain of their own."""
    whole = recalls(reference=0.9, before=0.5, after=0.7)
    sample = recalls(stratum=CONTROLLED, **FIVE | {"after": 0.6})
    said = verdict([*whole, *sample])
    assert "deblurring changed it by +20.0 points" in said
    assert "+10.0 points (95 %: +8.0 to +12.0) over null" in said


def test_a_run_is_told_by_its_strongest_truth():
    empty = [row("after", "objects_kept", 0, truth="none")]
    assert overall([*empty, *recalls(**FIVE)])[0] == "labels"


@pytest.mark.parametrize("arm", ARMS)
def test_the_table_has_a_line_per_arm(arm):
    values = dict(zip(ARMS, (0.9, 0.5, 0.51, 0.55, 0.7, 0.75, 0.8), strict=True))
    rows = recalls(**values)
    rows += [row(a, m, 0.25) for a in values for m in ("precision", "ap50", "ssim")]
    rows += [row(a, "psnr", float("inf") if a == "reference" else 31.4159) for a in values]
    line = next(line for line in text(rows).splitlines() if f" {arm} " in line)
    assert f"{values[arm]:.3f}" in line
    assert "100" in line
    assert ("inf" if arm == "reference" else "31.42") in line


def test_the_table_shows_average_precision_at_the_overlap_of_the_run():
    names = {"ap75": 0.123, "ap50_95": 0.456, "ap75_gain": 0.789, "ap50_95_gain": 0.987}
    shown = text([*recalls(**FIVE), *(row("after", name, value) for name, value in names.items())])
    assert "ap75" in shown
    assert "0.123" in shown
    assert "0.456" not in shown
