"""Numbers: each as measured, and once per replicate, with the same weights in every arm."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_ruler

from configs.schema import IntervalConfig
from transforms.functional.bootstrap import poisson_weights
from transforms.functional.gain import DetectionCounts, count_detections
from transforms.functional.quality import Mean, Quality
from transforms.numbers import (
    Number,
    Weighted,
    describe_arm,
    describe_arms,
    describe_changes,
    metric_prefix,
)
from transforms.sums import ArmSums, Changes, TileSums

RULER = make_ruler(distances=(1.0,))
CRITERIA = 11
SEEDS = st.integers(0, 2**32 - 1)


def counts_of(labels, found, false):
    """Return counts of scores found and false, alike under every criterion."""
    scores = np.float32([*found, *false])
    true = np.arange(len(scores)) < len(found)
    masks = {"found": np.tile(true, (CRITERIA, 1)), "false": np.tile(~true, (CRITERIA, 1))}
    [counts] = count_detections(
        scores,
        cells=np.zeros((CRITERIA, len(scores)), np.int64),
        labels=np.full((1, CRITERIA), labels),
        threshold=0.25,
        **masks,
    )
    return counts


def cluster(*, tiles=1, area=Fraction(0), changes=None, **arms) -> TileSums:
    return TileSums(arms, changes or Changes(), tiles=tiles, area=area)


def weigh(clusters, replicates=200):
    parts = [(f"cluster {number}", sums) for number, sums in enumerate(clusters)]
    return Weighted.of(parts, IntervalConfig(replicates=replicates))


def describe(clusters, *, truth="labels", curves=False, arm="after", replicates=200):
    weighted = weigh(clusters, replicates)
    return describe_arm(weighted, arm, truth=truth, ruler=RULER, curves=curves)


@given(st.integers(0, 2**32 - 1))
def test_arms_with_equal_sums_share_what_each_would_have_alone(seed):
    clusters = [
        cluster(area=sums.area, null=sums.arms["before"], **sums.arms)
        for sums in draw_clusters(seed)
    ]
    weighted = weigh(clusters, 100)
    shared = describe_arms(weighted, truth="labels", ruler=RULER, curves=True)
    assert shared["null"] is shared["before"]
    for arm, numbers in shared.items():
        alone = describe(clusters, curves=True, arm=arm, replicates=100)
        assert numbers.keys() == alone.keys()
        for name, number in numbers.items():
            np.testing.assert_array_equal(number.values, alone[name].values)


def draw_clusters(seed, count=6):
    """Return clusters of cars and buses in `before` and `after`, some without labels."""
    rng = np.random.default_rng(seed)
    clusters = []
    for _ in range(count):
        arms = {}
        labels = rng.integers(0, 6, 2)
        for arm in ("before", "after"):
            found = [rng.random(rng.integers(0, n + 1)) for n in labels]
            kinds = zip(("car", "bus"), labels, found, strict=True)
            arms[arm] = ArmSums(
                counts={name: counts_of(n, f, rng.random(2)) for name, n, f in kinds}
            )
        clusters.append(cluster(area=Fraction(1, 4), **arms))
    return clusters


@given(SEEDS)
def test_every_replicate_is_what_its_clusters_give_as_often_as_they_were_drawn(seed):
    clusters = draw_clusters(seed)
    numbers = describe(clusters, curves=True, replicates=100)
    weights = [poisson_weights(f"cluster {c}", replicates=100, seed=0) for c in range(6)]
    drawn = [sums for sums, n in zip(clusters, weights, strict=True) for _ in range(n[17])]
    again = describe(drawn, curves=True, replicates=0)
    for name, number in numbers.items():
        alone = again[name].values[0] if name in again else math.nan
        assert number.values[18] == pytest.approx(alone, nan_ok=True), name


@given(SEEDS, st.permutations(range(6)))
def test_the_order_of_the_clusters_changes_no_digit(seed, order):
    parts = [(f"cluster {number}", sums) for number, sums in enumerate(draw_clusters(seed))]
    settings = {"truth": "labels", "ruler": RULER, "curves": True}
    known, shuffled = (
        describe_arm(Weighted.of(each, IntervalConfig(replicates=100)), "after", **settings)
        for each in (parts, [parts[place] for place in order])
    )
    assert known.keys() == shuffled.keys()
    for name, number in known.items():
        assert np.array_equal(number.values, shuffled[name].values, equal_nan=True)


def test_recall_and_precision_are_ratios_of_the_sums():
    clusters = [
        cluster(after=ArmSums(counts={"car": counts_of(10, [0.9] * 9, [0.9])})),
        cluster(after=ArmSums(counts={"car": counts_of(2, [0.1], [0.9])})),
        cluster(after=ArmSums(counts={"car": counts_of(0, [], [])})),
    ]
    numbers = describe(clusters)
    assert numbers["recall"].values[0] == 9 / 12
    assert numbers["precision"].values[0] == 9 / 11
    assert (numbers["recall"].n, numbers["recall"].clusters) == (12, 2)
    assert (numbers["precision"].n, numbers["precision"].clusters) == (11, 2)


def test_average_precision_is_the_mean_over_the_classes_that_have_labels():
    counts = {
        "car": counts_of(2, [0.9], []),
        "bus": counts_of(1, [0.5], [0.9]),
        "van": counts_of(0, [], [0.9]),
    }
    numbers = describe([cluster(after=ArmSums(counts=counts))], curves=True)
    # One of two cars is found first: 51 of 101 points are 1. The bus is found second: all are 1/2.
    expected = (51 / 101 + 1 / 2) / 2
    assert numbers["ap50"].values[0] == pytest.approx(expected)
    assert numbers["ap50_95"].values[0] == pytest.approx(expected)


def test_the_overlap_of_the_run_stands_in_the_name_of_average_precision():
    weighted = weigh([cluster(after=ArmSums(counts={"car": counts_of(1, [0.9], [])}))])
    ruler = make_ruler(iou=0.75, distances=(1.0,))
    named = describe_arm(weighted, "after", truth="labels", ruler=ruler, curves=True)
    assert "ap75" in named
    assert "ap50" not in named
    overlaps = [name for name in named if name.startswith("recall_at_iou_")]
    assert overlaps[:2] == ["recall_at_iou_0.5", "recall_at_iou_0.55"]


def test_coco_s_mean_asks_for_ten_overlaps_and_no_other():
    """A run at overlap 0.3 has eleven criteria; the first is not among COCO's."""
    ruler = make_ruler(iou=0.3, distances=())
    found = np.ones((CRITERIA, 1), bool)
    found[1:] = False
    [counts] = count_detections(
        np.float32([0.9]),
        found=found,
        false=~found,
        cells=np.zeros((CRITERIA, 1), np.int64),
        labels=np.ones((1, CRITERIA), np.int64),
        threshold=0.25,
    )
    weighted = weigh([cluster(after=ArmSums(counts={"car": counts}))])
    numbers = describe_arm(weighted, "after", truth="labels", ruler=ruler, curves=True)
    assert numbers["ap30"].values[0] == 1
    assert numbers["ap50_95"].values[0] == 0


def test_distances_that_nobody_knows_have_no_recall():
    known = counts_of(2, [0.9], [])
    labels = known.labels.copy()
    labels[-1] = 0
    unknown = DetectionCounts(labels, known.found, known.false, known.bins)
    both = [cluster(after=ArmSums(counts={"car": each})) for each in (known, unknown)]
    assert "recall_at_1m" not in describe(both[1:], curves=True)
    # Where the pixels of some tiles are known on the ground, it is that of these tiles.
    assert describe(both[:1], curves=True)["recall_at_1m"].n == 2
    assert describe(both, curves=True)["recall_at_1m"].clusters == 1


def test_false_detections_are_counted_by_area():
    clusters = [
        cluster(area=Fraction(1, 2), after=ArmSums(counts={"car": counts_of(1, [], [0.9] * 3)})),
        cluster(area=Fraction(1, 4), after=ArmSums(counts={"car": counts_of(1, [], [0.1] * 3)})),
    ]
    assert describe(clusters)["false_per_km2"].values[0] == 3 / 0.75
    nowhere = [cluster(after=ArmSums(counts={"car": counts_of(1, [], [0.9])}))]
    assert "false_per_km2" not in describe(nowhere)


@given(SEEDS)
def test_calibration_is_that_of_all_detections(seed):
    rng = np.random.default_rng(seed)
    # The middles of bins, so that the mean score of a bin is that of its detections.
    scores = rng.choice(np.arange(0.0105, 0.99, 0.001), 50)
    true = np.arange(50) < 30
    parts = zip(np.split(scores[:30], 3), [*np.split(scores[30:], 2), np.zeros(0)], strict=True)
    clusters = [cluster(after=ArmSums(counts={"car": counts_of(30, *each)})) for each in parts]
    numbers = describe(clusters, curves=True, replicates=0)
    error = 0.0
    for tenth in range(10):
        mine = (scores >= tenth / 10) & (scores < (tenth + 1) / 10)
        name = f"precision_of_scores_{tenth / 10:g}_{(tenth + 1) / 10:g}"
        assert (name in numbers) == mine.any()
        if mine.any():
            assert numbers[name].values[0] == pytest.approx(true[mine].mean())
            assert numbers[name].n == mine.sum()
            error += abs(true[mine].mean() - scores[mine].mean()) * mine.mean()
    assert numbers["calibration_error"].values[0] == pytest.approx(error)


def test_quality_comes_from_the_summed_error_and_not_from_decibels():
    quality = [Quality(Mean.of(100, 1), Mean.of(0.5, 1)), Quality(Mean.of(900, 3), Mean.of(1.5, 2))]
    clusters = [cluster(after=ArmSums(each)) for each in quality]
    numbers = describe(clusters, truth="none")
    assert numbers["psnr"].values[0] == pytest.approx(10 * math.log10(255**2 / 250))
    assert numbers["ssim"].values[0] == pytest.approx(2 / 3)
    assert (numbers["psnr"].n, numbers["ssim"].n) == (4, 3)
    weights = [poisson_weights(f"cluster {c}", replicates=200, seed=0) for c in range(2)]
    first, second = (float(each[0]) for each in weights)
    mean = (first * 100 + second * 900) / (first + 3 * second)
    assert numbers["psnr"].values[1] == pytest.approx(10 * math.log10(255**2 / mean))


def test_equal_pictures_have_infinite_quality_and_no_difference():
    same = ArmSums(Quality(Mean.of(0, 12), Mean.of(2, 2)))
    weighted = weigh([cluster(before=same, after=same)] * 3)
    before, after = (
        describe_arm(weighted, arm, truth="reference", ruler=RULER, curves=False)
        for arm in ("before", "after")
    )
    assert after["psnr"].values[0] == math.inf
    assert math.isnan(after["psnr"].minus(before["psnr"]).values[0])


def test_agreement_with_a_detector_is_not_called_recall():
    clusters = [cluster(after=ArmSums(counts={"car": counts_of(1, [0.9], [])}))]
    names = describe(clusters, truth="reference")
    assert "agreement_recall" in names
    assert "recall" not in names
    assert metric_prefix("labels") == ""


def test_without_truth_nothing_is_judged():
    sums = ArmSums(sharpness=Mean.of(0.25, 1), stability=Mean.of(3, 4))
    numbers = describe([cluster(after=sums)], truth="none", curves=True)
    assert {name: number.values[0] for name, number in numbers.items()} == {
        "sharpness": 0.25,
        "stability": 0.75,
    }


def test_changes_are_counted_and_the_scores_of_the_kept_averaged():
    changes = [
        Changes(kept=2, gained=1, score_shift=Mean.of(0.5, 2)),
        Changes(kept=2, lost=3, lost_true=1, score_shift=Mean.of(-0.25, 2)),
    ]
    weighted = weigh([cluster(tiles=4, changes=each) for each in changes])
    numbers = describe_changes(weighted, "labels")
    values = {name: number.values[0] for name, number in numbers.items() if number.values[0]}
    assert values == {
        "objects_kept": 4,
        "objects_gained": 1,
        "objects_lost": 3,
        "objects_lost_true": 1,
        "score_shift": 0.0625,
    }
    assert numbers["objects_kept"].n == 8
    assert numbers["score_shift"].n == 4
    assert not [name for name in describe_changes(weighted, "none") if "true" in name]


def test_differences_are_taken_replicate_by_replicate():
    a, b = Number(np.array([3.0, 1, 4]), 10, 5), Number(np.array([1.0, 5, 9]), 8, 6)
    difference = a.minus(b)
    assert difference.values.tolist() == [2, -4, -5]
    assert (difference.n, difference.clusters) == (8, 5)


def test_a_share_of_what_is_not_positive_is_undefined():
    whole = Number(np.array([2.0, 0, -1]), 10, 5)
    shares = Number(np.array([1.0, 1, 1]), 10, 5).over(whole).values
    assert np.array_equal(shares, [0.5, np.nan, np.nan], equal_nan=True)


def test_of_nothing_there_are_no_numbers():
    assert describe([cluster()]) == {}
    assert describe([cluster(after=ArmSums(counts={}))], curves=True) == {}


def test_a_class_without_labels_or_detections_has_no_value_and_no_warning():
    numbers = describe([cluster(after=ArmSums(counts={"car": counts_of(0, [], [])}))], curves=True)
    assert numbers["recall"].n == 0
    assert all(math.isnan(number.values[0]) for number in numbers.values())
