"""Binned curves are the exact ones where scores do not share bins, and near them where they do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional import average_precision as exact
from transforms.functional.binned_curves import (
    average_precision,
    calibration_error,
    ratio,
    recall_at_precision,
    reliability,
)
from transforms.functional.gain import SCORE_BINS, bin_centres, bin_scores

SEEDS = st.integers(0, 2**32 - 1)
PRECISIONS = st.sampled_from([0.1, 0.5, 0.7, 0.8, 0.95, 1.0])


def binned(scores, true):
    """Return found and false by bin, (1, SCORE_BINS) each."""
    places = bin_scores(scores.astype(np.float32))
    return (np.bincount(places[side], minlength=SCORE_BINS)[None] for side in (true, ~true))


def draw_counts(seed, rows=4, bins=30):
    """Return found, false (rows, bins) and labels (rows,), with empty rows among them."""
    rng = np.random.default_rng(seed)
    found, false = rng.integers(0, 4, (2, rows, bins)) * (rng.random((2, rows, 1)) < 0.8)
    return found, false, found.sum(axis=1) + rng.integers(0, 9, rows)


@given(SEEDS, st.integers(0, 80), PRECISIONS)
def test_scores_in_distinct_bins_give_the_exact_numbers(seed, k, precision):
    rng = np.random.default_rng(seed)
    # Next to 1 some bins hold no float32.
    places = np.unique(bin_scores(bin_centres().astype(np.float32)))
    scores = bin_centres()[rng.permutation(places)[:k]]
    true = rng.random(k) < rng.random()
    labels = int(true.sum() + rng.integers(1, 9))
    found, false = binned(scores, true)
    wanted = exact.average_precision(scores, true, ~true, labels=labels)
    curve = exact.curve(scores, true, ~true, labels=labels)
    counted = np.array([labels])
    assert average_precision(found, false, counted)[0] == wanted
    assert recall_at_precision(found, false, counted, precision)[0] == pytest.approx(
        exact.recall_at_precision(curve, precision), abs=1e-15
    )


@given(SEEDS, PRECISIONS)
def test_many_weightings_give_what_each_gives_alone(seed, precision):
    found, false, labels = draw_counts(seed)
    scores = np.linspace(0.01, 0.99, found.shape[1])
    together = (
        average_precision(found, false, labels),
        recall_at_precision(found, false, labels, precision),
        calibration_error(found, false, scores),
        *reliability(found, false, scores),
    )
    for row in range(len(labels)):
        one = slice(row, row + 1)
        alone = (
            average_precision(found[one], false[one], labels[one]),
            recall_at_precision(found[one], false[one], labels[one], precision),
            calibration_error(found[one], false[one], scores),
            *reliability(found[one], false[one], scores),
        )
        for all_rows, mine in zip(together, alone, strict=True):
            assert np.array_equal(all_rows[one], mine, equal_nan=True)


@given(SEEDS)
def test_average_precision_is_what_a_plain_loop_over_the_points_gives(seed):
    found, false, labels = draw_counts(seed)
    averages = average_precision(found, false, labels)
    for row, labelled in enumerate(labels.tolist()):
        points = list(curve_of(found[row], false[row]))
        best = [
            max((p for x, p in points if x / max(labelled, 1) >= r), default=0.0)
            for r in np.linspace(0, 1, 101)
        ]
        if labelled:
            assert averages[row] == pytest.approx(np.mean(best), abs=1e-12)
        else:
            assert np.isnan(averages[row])


def curve_of(found, false):
    """Yield found and precision after every true detection, spread in its bin like the false."""
    before, missed = 0, 0
    for true, wrong in zip(found[::-1].tolist(), false[::-1].tolist(), strict=True):
        for step in range(1, true + 1):
            yield before + step, (before + step) / (before + step + missed + wrong * step / true)
        before, missed = before + true, missed + wrong


@given(SEEDS, PRECISIONS)
def test_recall_at_a_precision_is_reached_and_no_end_of_a_bin_has_more(seed, precision):
    found, false, labels = draw_counts(seed)
    best = recall_at_precision(found, false, labels, precision)
    for row, labelled in enumerate(labels.tolist()):
        if not labelled:
            assert np.isnan(best[row])
            continue
        true, wrong = np.cumsum(found[row][::-1]), np.cumsum(false[row][::-1])
        enough = true / np.maximum(true + wrong, 1) >= precision
        least = true[enough].max(initial=0)
        most = true[np.argmax(true > least)] if (true > least).any() else least
        assert least / labelled <= best[row] <= most / labelled


def test_bins_that_true_and_false_share_are_cut_where_the_precision_is_met():
    # 8 found alone; then 8 found with 8 false. After x of the latter precision is (8 + x) / (8 +
    # 2 x), which is 0.8 at x = 8 / 3.
    best = recall_at_precision(np.array([[8, 8]]), np.array([[8, 0]]), np.array([16]), 0.8)
    assert best[0] == pytest.approx((8 + 8 / 3) / 16)


SPREADS = {
    # name: parameters of the beta distributions of true and of false scores, share of the true.
    "broad": ((5, 2), (1, 4), 0.3),
    "both unsure": ((2, 20), (1, 40), 0.1),
    "false at the floor": ((3, 1.2), (0.3, 6), 0.1),
    "true at 1": ((50, 1), (1, 50), 0.2),
    "peak in the middle": ((800, 800), (800, 900), 0.5),
}


def near_the_exact_numbers(scores, true, labels):
    scores = np.clip(scores, 0.01, 1).astype(np.float32)
    found, false = binned(scores, true)
    counted = np.array([labels])
    wanted = exact.average_precision(scores, true, ~true, labels=labels)
    curve = exact.curve(scores, true, ~true, labels=labels)
    assert average_precision(found, false, counted)[0] == pytest.approx(wanted, abs=1e-3)
    assert recall_at_precision(found, false, counted, 0.8)[0] == pytest.approx(
        exact.recall_at_precision(curve, 0.8), abs=1e-3
    )


@pytest.mark.parametrize("spread", SPREADS)
def test_a_million_detections_are_within_a_thousandth_of_the_exact_numbers(spread):
    (a, b), (c, d), share = SPREADS[spread]
    rng = np.random.default_rng(0)
    true = rng.random(10**6) < share
    scores = np.where(true, rng.beta(a, b, 10**6), rng.beta(c, d, 10**6))
    near_the_exact_numbers(scores, true, int(true.sum() / 0.8))


@pytest.mark.parametrize("logits", [(-3, -5, 1.0), (2, -2, 1.5), (6, 3, 1.5), (8, 6, 1.0)])
def test_so_they_are_for_scores_that_crowd_at_either_end(logits):
    """Logits of true and of false detections, and their deviation."""
    rng = np.random.default_rng(1)
    true = rng.random(10**6) < 0.3
    high, low, deviation = logits
    logit = np.where(true, high, low) + deviation * rng.standard_normal(10**6)
    near_the_exact_numbers(1 / (1 + np.exp(-logit)), true, int(true.sum()))


@given(SEEDS)
def test_calibration_and_reliability_are_means_over_tenths(seed):
    rng = np.random.default_rng(seed)
    places = rng.integers(0, SCORE_BINS, 200)
    true = rng.random(200) < rng.random()
    scores = bin_centres()[places]
    found, false = binned(scores, true)
    precision, number = reliability(found, false, bin_centres())
    error = 0.0
    for tenth in range(10):
        mine = (scores >= tenth / 10) & (scores < (tenth + 1) / 10)
        assert number[0, tenth] == mine.sum()
        if mine.any():
            assert precision[0, tenth] == pytest.approx(true[mine].mean())
            error += abs(true[mine].mean() - scores[mine].mean()) * mine.mean()
        else:
            assert np.isnan(precision[0, tenth])
    assert calibration_error(found, false, bin_centres())[0] == pytest.approx(error)


def test_of_nothing_every_number_is_nan_or_0_without_a_warning():
    nothing, labels = np.zeros((2, 0)), np.array([0, 3])
    assert np.array_equal(average_precision(nothing, nothing, labels), [np.nan, 0], equal_nan=True)
    best = recall_at_precision(nothing, nothing, labels, 0.8)
    assert np.array_equal(best, [np.nan, 0], equal_nan=True)
    assert np.isnan(calibration_error(nothing, nothing, np.zeros(0))).all()
    precision, number = reliability(nothing, nothing, np.zeros(0))
    assert np.isnan(precision).all()
    assert not number.any()


def test_a_share_of_nothing_is_nan():
    assert np.array_equal(ratio(np.array([1.0, 2.0]), np.array([0, 4])), [np.nan, 0.5], True)
