"""Simulated intervals contain the truth as often as they say; tests of single objects do not."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from benchmarks import interval_coverage
from benchmarks.interval_coverage import (
    CLUSTERS,
    METRICS,
    RUNS,
    WORLDS,
    Setting,
    all_ends,
    box_interval,
    describe,
    mcnemar,
    population,
    simulate,
)
from benchmarks.simulated_tiles import World, draw_tiles, merge_bins, metrics, sum_tiles
from transforms.functional.binned_curves import average_precision
from transforms.functional.bootstrap import interval


def tiles_of(seed, clusters=20, world=WORLDS[1]):
    return draw_tiles(world, clusters, np.random.default_rng(seed))


@pytest.mark.slow
def test_intervals_hold_without_a_gain_and_tests_of_single_objects_do_not():
    runs = 1000
    truth = dict.fromkeys(METRICS, 0.0)
    counts = simulate(Setting(World(), 60), truth, runs=runs, with_ap=False)
    share = {event: count / runs for (name, event), count in counts.items() if name == METRICS[0]}
    assert 0.93 <= share["covers"] <= 0.97
    assert share["excludes 0"] == pytest.approx(1 - share["covers"])
    assert share["p rejects"] <= 0.06
    assert share["McNemar rejects"] > 0.2
    assert share["boxes cover"] < 0.8


def test_the_two_arms_change_places_when_there_is_no_gain():
    gains = population(dataclasses.replace(World(), gain=1e-9), parts=20)
    assert gains["recall gain"] == pytest.approx(0, abs=0.006)
    assert gains["precision gain"] == pytest.approx(0, abs=0.004)
    assert gains["AP50 gain"] == pytest.approx(0, abs=0.004)
    assert gains["PSNR gain (dB)"] == pytest.approx(0, abs=0.1)


def test_bins_are_consistent_with_the_counts():
    tiles = tiles_of(1)
    assert np.array_equal(tiles.found_bins.sum(axis=2), np.stack([tiles.labels] * 2))
    assert np.array_equal(tiles.found_bins[:, :, 500:].sum(axis=2), tiles.found)
    assert np.array_equal(tiles.found[1] - tiles.found[0], tiles.gained - tiles.lost)


@pytest.mark.parametrize("seed", range(5))
def test_merging_bins_changes_no_average_precision(seed):
    tiles = tiles_of(seed)
    weights = np.random.default_rng(seed).poisson(1, (200, 20)).astype(float)
    found, false = tiles.found_bins[1], tiles.false_bins[1]
    merged = merge_bins(found, false)
    assert merged[0].shape[1] < 0.5 * (found.any(axis=0) | false.any(axis=0)).sum()
    labels = weights @ tiles.labels
    expected = average_precision(weights @ found, weights @ false, labels)
    got = average_precision(*(weights @ each for each in merged), labels)
    assert np.array_equal(got, expected)


def test_metrics_of_added_tiles_are_those_of_all():
    tiles = tiles_of(2)
    split, ones = metrics(tiles, np.ones((1, 20)), with_ap=True), np.ones((1, 1))
    whole = metrics(sum_tiles([tiles]), ones, with_ap=True)
    assert {name: value[0] for name, value in split.items()} == pytest.approx(
        {name: value[0] for name, value in whole.items()}
    )


def test_the_method_that_is_judged_is_the_one_in_use():
    replicates = np.random.default_rng(4).normal(0.1, 1, 1000)
    got = interval(0.1, replicates, clusters=15, difference=True)
    assert all_ends(0.1, replicates, 15)["expanded percentile"] == (got.low, got.high)


def test_mcnemar_is_the_sign_test_of_the_discordant_objects():
    tiles = tiles_of(3)
    gained, lost = tiles.gained.sum(), tiles.lost.sum()
    assert mcnemar(tiles) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)


def test_drawing_boxes_gives_the_interval_of_independent_objects():
    tiles = tiles_of(5, clusters=60)
    labels, gained, lost = (each.sum() for each in (tiles.labels, tiles.gained, tiles.lost))
    error = np.sqrt((gained + lost) / labels - ((gained - lost) / labels) ** 2) / np.sqrt(labels)
    low, high = box_interval(tiles, np.random.default_rng(6))
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.1)


def test_the_page_gives_every_share_as_measured():
    counts = {Setting(world, size): Counter() for world in WORLDS for size in CLUSTERS}
    counts[Setting(WORLDS[0], 60)]["recall gain", "covers"] = 1890
    counts[Setting(WORLDS[0], 60)]["recall gain", "excludes 0"] = 0
    truths = {world: dict.fromkeys(METRICS, 0.125) for world in WORLDS}
    many = Counter({("PSNR gain (dB)", "p rejects"): 523})
    text = describe(counts, many, truths)
    assert f"| 60 | {100 * 1890 / RUNS:.1f} % |" in text
    assert "| 60 | 0.0 % |" in text
    assert "| PSNR gain (dB) | 0.0 % | 0.0 % | 5.2 % |" in text
    assert "recall gain 0.125" in text
    assert interval_coverage.HEAD in text
