"""The summary: rows that do not depend on order or grouping, intervals, and paired differences."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_detections, make_reporter, make_scene, make_tile_row, make_truth

from configs.schema import IntervalConfig, MeasureConfig
from transforms.functional.bootstrap import LEAST_CLUSTERS
from transforms.functional.multiple_tests import holm
from transforms.functional.quality import Mean, Quality
from transforms.records import ArmRow, Blur, SummaryRow, TileRow
from transforms.strata import strata_of
from transforms.summarize import OK, SUM, by_family, summarize, summarize_rows
from transforms.sums import ArmSums, TileSums

SPACING, SIDE = 40, 20


def boxes(places):
    return [(SPACING * at, 0, SPACING * at + SIDE, SIDE) for at in places]


def make_row(index: int, *, truth="labels", scene="a.tif", blur=None, **found) -> TileRow:
    """Return tile `index` of a scene with ten labels, of which each arm found those given."""
    core = (512 * (index % 8), 512 * (index // 8), 512, 512)
    arms = {arm: make_detections(*boxes(places)) for arm, places in found.items()}
    labels = make_truth(*boxes(range(10))) if truth == "labels" else None
    made = make_scene(scene)
    return make_tile_row(made, core=core, truth=truth, arms=arms, labels=labels, blur=blur)


def draw_rows(count=16, *, seed=0, **rates) -> list[TileRow]:
    """Return tiles that differ; an arm with a higher rate finds all that one with a lower finds."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        luck = 0.5 * rng.random(10) + 0.5 * rng.random()
        found = {arm: np.flatnonzero(luck < rate) for arm, rate in rates.items()}
        rows.append(make_row(index, **found))
    return rows


def reporter(**changes):
    """Return the settings of a run with few replicates and blocks of one tile."""
    interval = IntervalConfig(replicates=changes.pop("replicates", 200))
    partial = changes.pop("partial", frozenset())
    return make_reporter(MeasureConfig(interval=interval, **changes), partial=partial)


def report(rows, **changes) -> dict[tuple[str, str, str], SummaryRow]:
    """Return the summary by stratum, arm and metric."""
    lines = summarize_rows(rows, reporter(**changes))
    known = {(line.stratum, line.arm, line.metric): line for line in lines}
    assert len(known) == len(lines)
    return known


def overall(rows, **changes) -> dict[tuple[str, str], SummaryRow]:
    return {key[1:]: line for key, line in report(rows, **changes).items() if key[0] == "all"}


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("truth", ["labels", "none"])
def test_the_order_of_the_tiles_changes_no_digit(truth, seed):
    found = {"before": (0, 1), "after": (1, 2, 3)}
    rows = [
        make_row(index, truth=truth, scene=scene, blur=blur, **found)
        for index in range(2)
        for scene in ("a.tif", "b.tif")
        for blur in (None, Blur(7, 0))
    ]
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    assert sorted(map(repr, summarize_rows(rows, reporter(replicates=100)))) == sorted(
        map(repr, summarize_rows(shuffled, reporter(replicates=100)))
    )


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_bundles_of_tiles_and_the_order_of_clusters_change_no_digit(seed):
    """As Beam does it: partial sums in any grouping, and the clusters of a stratum in any order."""
    rng = random.Random(seed)
    rows = draw_rows(6, before=0.5, after=0.7)
    known = reporter(replicates=100)
    parts = [
        (cluster, sums)
        for row in rows
        for ((name, _), cluster), sums in strata_of(row, known.stratifier)
        if name == "all"
    ]
    twice = parts * 2
    rng.shuffle(twice)
    doubled: dict[str, TileSums] = {}
    for cluster, sums in twice:
        doubled[cluster] = sums + doubled.get(cluster, TileSums())
    plain = [(cluster, sums + sums) for cluster, sums in parts]
    stratum = ("all", "labels")
    assert list(summarize(stratum, doubled.items(), reporter=known)) == list(
        summarize(stratum, plain, reporter=known)
    )


def test_recall_and_precision_are_ratios_of_the_sums():
    rows = [make_row(0, before=(0, 1), after=range(8)), make_row(1, before=(2,), after=())]
    known = overall([*rows, make_row(2, before=(12,), after=(12,))])
    assert known["before", "recall"].value == 3 / 30
    assert known["before", "precision"].value == 3 / 4
    assert known["after", "recall"].value == 8 / 30
    assert known["after", "recall_gain"].value == pytest.approx(5 / 30)
    assert known["after", "recall"].n == 30


def test_intervals_hold_the_number():
    known = overall(draw_rows(20, before=0.4, after=0.7))
    for (arm, metric), line in known.items():
        if line.low is not None:
            assert line.low <= line.value <= line.high, (arm, metric)
    recall = known["before", "recall"]
    assert 0 <= recall.low < recall.value < recall.high <= 1
    assert (recall.clusters, recall.status, recall.p) == (20, OK, None)


def test_arms_that_found_the_same_differ_by_exactly_nothing():
    known = overall(draw_rows(before=0.5, null=0.5, after=0.5))
    for metric in (
        "recall_gain",
        "precision_gain",
        "ap50_gain",
        "ap50_95_gain",
        "recall_over_null",
    ):
        line = known["after", metric]
        assert (line.value, line.low, line.high, line.minimum_detectable) == (0, 0, 0, 0)
        assert line.p == 1


def test_differences_are_paired():
    """Both arms vary from tile to tile by as much, and together: their difference varies little."""
    known = overall(draw_rows(30, before=0.5, after=0.55))
    width = {
        key: known[key].high - known[key].low
        for key in (("before", "recall"), ("after", "recall"), ("after", "recall_gain"))
    }
    gain = width.pop(("after", "recall_gain"))
    assert 0 < gain < 0.6 * min(width.values())


def test_a_real_gain_has_an_interval_above_zero_and_a_small_p():
    line = overall(draw_rows(20, before=0.3, after=0.8))["after", "recall_gain"]
    assert 0 < line.low < line.value
    assert line.p < 0.001
    assert 0 < line.minimum_detectable < line.value


def test_after_is_compared_with_before_and_with_every_control():
    known = overall(draw_rows(before=0.3, null=0.3, unsharp=0.4, after=0.6))
    recall = {arm: known[arm, "recall"].value for arm in ("before", "null", "unsharp", "after")}
    for arm in ("null", "unsharp"):
        over = known["after", f"recall_over_{arm}"].value
        assert over == pytest.approx(recall["after"] - recall[arm])
        gain = known[arm, "recall_gain"].value
        assert gain == pytest.approx(recall[arm] - recall["before"])
    assert ("null", "recall_over_unsharp") not in known


@pytest.mark.parametrize(("least", "status"), [(160, OK), (161, "insufficient: n < 161")])
def test_too_few_labels_are_said_to_be_insufficient(least, status):
    known = overall(draw_rows(16, before=0.4, after=0.6), least=least)
    assert known["after", "recall"].n == 160
    assert known["after", "recall"].status == status
    assert known["after", "recall_gain"].status == status


@pytest.mark.parametrize("count", [LEAST_CLUSTERS - 1, LEAST_CLUSTERS])
def test_too_few_clusters_have_no_interval(count):
    line = overall(draw_rows(count, before=0.4, after=0.6))["after", "recall_gain"]
    few = count < LEAST_CLUSTERS
    assert (line.low is None, line.p is None, line.minimum_detectable is None) == (few, few, few)
    assert line.status == ("no interval: too few clusters, or undefined" if few else OK)


def test_without_replicates_there_are_no_intervals():
    line = overall(draw_rows(20, before=0.4, after=0.6), replicates=0)["after", "recall_gain"]
    assert (line.value > 0, line.low, line.p) == (True, None, None)


def test_more_tiles_of_a_cluster_are_no_more_clusters():
    """Four blurs of three places are three clusters, however many tiles that makes."""
    rows = [
        make_row(index, blur=Blur(length, 0), before=(0,), after=(0, 1))
        for index in range(3)
        for length in (3, 5, 7, 9)
    ]
    line = overall(rows)["after", "recall_gain"]
    assert (line.clusters, line.n, line.low) == (3, 120, None)


def test_p_values_are_adjusted_over_the_strata_and_the_whole_run_is_none():
    rng = np.random.default_rng(0)
    rows = []
    for index in range(32):
        luck = rng.random(10)
        found = {"before": np.flatnonzero(luck < 0.4), "after": np.flatnonzero(luck < 0.5)}
        rows.append(make_row(index % 16, scene="ab"[index // 16], **found))
    known = report(rows, strata=(("scene",), ("class",)))
    strata = ["class=car", "scene=a", "scene=b"]
    lines = [known[name, "after", "recall_gain"] for name in strata]
    assert [line.p_holm for line in lines] == holm([line.p for line in lines])
    assert any(line.p < line.p_holm for line in lines)
    assert known["all", "after", "recall_gain"].p_holm is None
    assert known["scene=a", "after", "recall"].p_holm is None


def test_insufficient_strata_are_not_tested():
    rows = [
        make_row(index % 16, scene="ab"[index // 16], before=(0,), after=(0, index % 3))
        for index in range(31)
    ]
    known = report(rows, strata=(("scene",),), least=155)
    enough, few = (known[f"scene={name}", "after", "recall_gain"] for name in "ab")
    assert (few.n, few.p_holm) == (150, None)
    assert enough.p_holm == enough.p


def counted(found: int, labels=10) -> ArmSums:
    row = make_tile_row(
        truth="labels",
        labels=make_truth(*boxes(range(labels))),
        arms={arm: make_detections(*boxes(range(found))) for arm in ("before", "after")},
    )
    [(_, sums), *_] = strata_of(row, make_reporter().stratifier)
    return sums.arms["after"]


def returned(**found):
    sums = TileSums(arms={arm: counted(n) for arm, n in found.items()}, tiles=1)
    lines = summarize(("all", "labels"), [("a", sums)], reporter=reporter())
    return {row.arm: row.value for row in lines if row.metric == "recall_returned"}


def test_what_came_back_is_a_share_of_what_blur_took():
    shares = returned(reference=9, before=4, null=4, after=6, oracle=8)
    assert shares == pytest.approx({"null": 0, "after": 0.4, "oracle": 0.8})


def test_nothing_comes_back_where_blur_took_nothing():
    assert returned(reference=4, before=4, after=6) == {}
    assert returned(before=4, after=6) == {}


def test_gains_of_quality_come_from_the_summed_errors():
    arms = {"before": (400, 0.25), "after": (100, 0.75)}
    sums = TileSums(
        {arm: ArmSums(Quality(Mean.of(e, 1), Mean.of(s, 1))) for arm, (e, s) in arms.items()}
    )
    lines = summarize(("all", "none"), [("a", sums), ("b", sums)], reporter=reporter())
    values = {(line.arm, line.metric): line.value for line in lines}
    assert values["after", "psnr_change"] == pytest.approx(20 * np.log10(2))
    assert values["after", "ssim_change"] == 0.5
    assert values["before", "psnr"] == pytest.approx(10 * np.log10(255**2 / 400))


def test_without_truth_nothing_is_called_a_gain_or_recall():
    known = overall([make_row(0, truth="none", before=(0, 1), after=(1, 2, 3))])
    metrics = {metric for _, metric in known}
    assert not [metric for metric in metrics if "recall" in metric or metric.endswith("_gain")]
    assert known["after", "objects_gained"].value == 2
    assert known["after", "objects_lost"].value == 1
    assert known["after", "objects_kept"].value == 1
    assert "sharpness_change" in metrics


def test_tiles_are_counted_and_not_estimated():
    empty = TileRow.empty(make_row(5, before=(), after=()).window, "labels")
    known = overall([*draw_rows(3, before=0.5, after=0.5), empty])
    line = known[SUM, "tiles"]
    assert (line.value, line.low, line.clusters, line.status) == (4, None, 0, OK)
    assert known[SUM, "tiles_empty"].value == 1
    assert known[SUM, "valid_pixels"].value == 3 * 512 * 512


def test_a_run_without_a_single_valid_pixel_has_a_summary():
    known = overall([TileRow.empty(make_row(0, before=(), after=()).window, "labels")])
    assert known[SUM, "tiles"].value == 1
    assert not [arm for arm, _ in known if arm == "before"]


def test_controls_on_a_sample_are_compared_where_they_ran():
    """Controls ran on the tiles where nothing was gained; elsewhere everything was."""
    ran = [make_row(index, before=(0,), null=(0,), after=(0,)) for index in range(14)]
    others = [make_row(index, before=(), after=range(10)) for index in range(20, 34)]
    known = report([*ran, *others], partial=frozenset({"null"}))
    assert ("all", "after", "recall_over_null") not in known
    assert known["all", "after", "recall_gain"].value > 0.4
    line = known["controls=ran", "after", "recall_over_null"]
    assert (line.value, line.high, line.n) == (0, 0, 140)


def test_curves_are_described_for_the_run_and_its_blurs_alone():
    known = report(draw_rows(2, before=0.5, after=0.5))
    having = {stratum for stratum, _, metric in known if metric == "ap50_95"}
    assert having == {"all"}
    blurred = report([make_row(0, blur=Blur(7, 0, 2), before=(0,), after=(0,))])
    having = {stratum for stratum, _, metric in blurred if metric == "ap50_95"}
    assert having == {"all", "blur_length=7", "severity=2"}


def test_a_number_s_family_is_the_same_number_in_other_strata():
    row = next(iter(overall(draw_rows(1, before=0.5, after=0.5)).values()))
    assert by_family(row) == ((row.truth, row.arm, row.metric), row)


def test_stability_is_reported_where_the_run_looked():
    row = make_row(0, before=(0,), after=(0,))
    known = overall([row])
    assert ("after", "stability") not in known
    looked = tuple(
        ArmRow(arm.arm, arm.quality, arm.sharpness, Mean.of(3, 4), arm.sightings)
        for arm in row.arms
    )
    known = overall([TileRow(**{**vars(row), "arms": looked})])
    assert known["after", "stability"].value == 0.75
    assert known["after", "stability"].n == 4


def test_the_ledger_of_the_run_is_the_sum_of_its_sizes():
    known = report(draw_rows(4, before=0.4, after=0.6))
    for change in ("kept", "gained", "lost", "gained_true", "lost_false"):
        parts = [
            line.value
            for (stratum, _, metric), line in known.items()
            if metric == f"objects_{change}" and stratum.startswith("size_px=")
        ]
        assert sum(parts) == known["all", "after", f"objects_{change}"].value
