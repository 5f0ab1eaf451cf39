"""The chosen threshold is the lowest of all that attain the target, tried one by one."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.average_precision import average_precision, curve
from transforms.functional.operating_point import (
    Outcomes,
    Ranking,
    Target,
    attains,
    best_of,
    lowest_threshold,
    mean_average_precision,
    rates_at,
    resample_thresholds,
    shorten_threshold,
)

CLUSTERS = 4
DETECTION = st.tuples(
    st.integers(1, 8),
    st.sampled_from(["found", "false", "neither"]),
    st.integers(0, 1),
    st.integers(0, CLUSTERS - 1),
)
DETECTIONS = st.lists(DETECTION, max_size=30)
WEIGHTS = st.lists(st.integers(0, 3), min_size=CLUSTERS, max_size=CLUSTERS)
TARGETS = st.one_of(
    st.sampled_from([0.25, 0.5, 0.8, 0.9, 1.0]).map(lambda value: Target("precision", value)),
    st.sampled_from([0.0, 1.0, 2.5, 8.0]).map(lambda value: Target("false_per_km2", value)),
)
ONCE = np.ones(CLUSTERS, np.int64)
KM2 = np.array([0.5, 1.0, 0.25, 0.25])
"""Of the clusters: 2 square kilometres in all."""


def make(detections: list[tuple[int, str, int, int]], missed: int = 1) -> Outcomes:
    """Return detections with scores in eighths; cluster 0 has `missed` labels that nobody found."""
    scores = np.array([eighths / 8 for eighths, *_ in detections], np.float32)
    kinds = np.array([kind for _, kind, *_ in detections], "U7")
    classes = np.array([each[2] for each in detections], np.int32)
    clusters = np.array([each[3] for each in detections], np.int64)
    labels = np.zeros((CLUSTERS, 2), np.int64)
    np.add.at(labels, (clusters[kinds == "found"], classes[kinds == "found"]), 1)
    labels[0, 0] += missed
    return Outcomes(scores, kinds == "found", kinds == "false", classes, clusters, labels, KM2)


def try_all(outcomes: Outcomes, target: Target, weights: np.ndarray) -> list[float]:
    """Return every score that attains the target, by counting anew above each, exactly."""
    each = weights[outcomes.clusters]
    km2 = sum(Fraction(float(area)) * int(times) for area, times in zip(KM2, weights, strict=True))
    reached = []
    for threshold in np.unique(outcomes.scores[(outcomes.found | outcomes.false) & (each > 0)]):
        kept = outcomes.scores >= threshold
        found, false = (
            int(each[kept & outcomes.found].sum()),
            int(each[kept & outcomes.false].sum()),
        )
        wanted = Fraction(str(target.value))
        if target.metric == "precision":
            good = Fraction(found, found + false) >= wanted
        else:
            good = km2 > 0 and Fraction(false) / km2 <= wanted
        if good:
            reached.append(float(threshold))
    return reached


@given(DETECTIONS, TARGETS)
def test_the_threshold_is_the_lowest_of_all_that_attain_the_target(detections, target):
    outcomes = make(detections)
    reached = try_all(outcomes, target, ONCE)
    chosen = lowest_threshold(Ranking.of(outcomes).curve(ONCE), target, KM2.sum())
    assert chosen == min(reached) if reached else math.isnan(chosen)


@given(DETECTIONS, TARGETS, WEIGHTS)
def test_a_replicate_chooses_as_if_its_clusters_were_there_so_often(detections, target, weights):
    outcomes, weights = make(detections), np.array(weights)
    [chosen] = resample_thresholds(outcomes, target, weights[None].astype(np.uint8))
    reached = try_all(outcomes, target, weights)
    assert chosen == min(reached) if reached else math.isnan(chosen)


@given(DETECTIONS, st.sampled_from(["precision", "false_per_km2"]), st.randoms())
def test_a_harder_target_never_gives_a_lower_threshold(detections, metric, random):
    easy, hard = sorted([random.uniform(0.01, 1), random.uniform(0.01, 1)])
    if metric == "false_per_km2":
        easy, hard = 10 * hard, 10 * easy
    points = Ranking.of(make(detections)).curve(ONCE)
    low, high = (
        lowest_threshold(points, Target(metric, value), KM2.sum()) for value in (easy, hard)
    )
    assert math.isnan(high) or low <= high


@given(DETECTIONS, TARGETS)
def test_what_is_counted_at_the_threshold_attains_the_target(detections, target):
    outcomes = make(detections)
    points = Ranking.of(outcomes).curve(ONCE)
    threshold = lowest_threshold(points, target, KM2.sum())
    if math.isnan(threshold):
        assert not attains(points, target, KM2.sum()).any()
        return
    [rate] = rates_at(outcomes, threshold, ONCE[None].astype(np.uint8))[target.metric]
    assert rate >= target.value if target.metric == "precision" else rate <= target.value


@given(DETECTIONS, TARGETS, st.randoms(use_true_random=False))
def test_the_order_of_detections_is_of_no_matter(detections, target, random):
    shuffled = random.sample(detections, len(detections))
    a, b = (
        lowest_threshold(Ranking.of(make(each)).curve(ONCE), target, KM2.sum())
        for each in (detections, shuffled)
    )
    assert a == b or (math.isnan(a) and math.isnan(b))


@given(DETECTIONS)
def test_an_unweighted_ranking_is_the_exact_curve(detections):
    outcomes = make(detections)
    ours = Ranking.of(outcomes).curve(ONCE)
    labels = int(outcomes.labels.sum())
    theirs = curve(outcomes.scores, outcomes.found, outcomes.false, labels=labels)
    assert ours.labels == theirs.labels
    for name in ("thresholds", "found", "false"):
        assert (getattr(ours, name) == getattr(theirs, name)).all()


@given(DETECTIONS, TARGETS)
def test_the_best_is_beaten_by_no_threshold(detections, target):
    points = Ranking.of(make(detections)).curve(ONCE)
    best, threshold = best_of(points, target, KM2.sum())
    if not len(points.thresholds):
        assert math.isnan(best)
    elif target.metric == "precision":
        assert best == points.precision.max()
        assert best == 0 or threshold == lowest_threshold(points, Target("precision", best))
    else:
        assert best == points.false.min() / KM2.sum()
        assert threshold == lowest_threshold(points, Target(target.metric, best), KM2.sum())


def test_precision_may_fall_below_the_target_above_the_threshold():
    # From the top: precision 1, 1/2, 2/3, 3/4, 4/5; the target is first missed, then met again.
    kinds = ["found", "false", "found", "found", "found"]
    outcomes = make([(8 - place, kind, 0, 0) for place, kind in enumerate(kinds)])
    assert lowest_threshold(Ranking.of(outcomes).curve(ONCE), Target("precision", 0.8)) == 0.5


def test_equal_scores_stand_or_fall_together():
    outcomes = make(
        [(8, "found", 0, 0), (4, "found", 0, 0), (4, "false", 0, 1), (4, "false", 0, 2)]
    )
    points = Ranking.of(outcomes).curve(ONCE)
    assert lowest_threshold(points, Target("precision", 0.6)) == 1.0
    assert lowest_threshold(points, Target("precision", 0.5)) == 0.5


def test_a_label_and_its_finder_in_two_clusters_never_make_a_recall_above_one():
    outcomes = make([(8, "found", 0, 1)], missed=0)
    moved = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])
    apart = Outcomes(
        outcomes.scores,
        outcomes.found,
        outcomes.false,
        outcomes.classes,
        outcomes.clusters,
        moved,
        KM2,
    )
    recall = rates_at(apart, 0.5, np.array([[1, 3, 0, 0], [2, 1, 0, 0]], np.uint8))["recall"]
    assert recall.tolist() == [1.0, 0.5]


def test_without_ground_there_is_no_rate_of_false_detections():
    outcomes = make([(8, "false", 0, 0)])
    nowhere = Outcomes(
        outcomes.scores,
        outcomes.found,
        outcomes.false,
        outcomes.classes,
        outcomes.clusters,
        outcomes.labels,
        None,
    )
    weights = ONCE[None].astype(np.uint8)
    assert math.isnan(rates_at(nowhere, 0.5, weights)["false_per_km2"][0])
    assert math.isnan(resample_thresholds(nowhere, Target("false_per_km2", 1e9), weights)[0])


@given(DETECTIONS)
def test_average_precision_is_the_mean_over_the_classes_with_labels(detections):
    outcomes = make(detections)
    each = []
    for kind in (0, 1):
        mine, labels = outcomes.classes == kind, int(outcomes.labels[:, kind].sum())
        met = outcomes.found[mine], outcomes.false[mine]
        if labels:
            each.append(average_precision(outcomes.scores[mine], *met, labels=labels))
    assert mean_average_precision(outcomes) == pytest.approx(np.mean(each), abs=1e-15)


FLOOR = 1 / 128
SCORE = st.floats(FLOOR, 1, width=32)


@given(st.lists(SCORE, min_size=1, unique=True), st.data())
def test_a_shortened_threshold_keeps_the_same_detections(scores, data):
    # The scores are compared in float32, as arrays are, and in float64, as a query does.
    scores = np.array(sorted(scores), np.float32)
    place = data.draw(st.integers(0, len(scores) - 1))
    exact = float(scores[place])
    above = float(scores[place - 1]) if place else -math.inf
    short = shorten_threshold(exact, above=above, least=FLOOR)
    assert FLOOR <= short <= exact
    assert ((scores >= short) == (scores >= scores[place])).all()
    assert ((scores.astype(np.float64) >= short) == (scores >= scores[place])).all()


def test_a_threshold_is_as_short_as_it_can_be_with_three_decimals():
    exact = float(np.float32(0.5261234))
    assert shorten_threshold(exact, above=0.4, least=0.01) == 0.526
    assert shorten_threshold(exact, above=0.5261, least=0.01) == 0.52612
    neighbour = float(np.nextafter(np.float32(exact), np.float32(0)))
    assert shorten_threshold(exact, above=neighbour, least=0.01) == 0.5261234


def test_a_threshold_never_lies_below_the_score_floor():
    # 0.01 in float32 is a little less than 0.01, and a config refuses that.
    lowest = float(np.float32(0.01))
    assert lowest < 0.01
    assert shorten_threshold(lowest, above=-math.inf, least=0.01) == 0.01


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("precision", 0.0),
        ("precision", 1.1),
        ("precision", math.nan),
        ("false_per_km2", -1.0),
        ("false_per_km2", math.inf),
    ],
)
def test_a_target_that_means_nothing_is_refused(metric, value):
    with pytest.raises(ValueError, match=f"{metric} must be"):
        Target(metric, value)
