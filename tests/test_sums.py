"""Sums of tiles add up in any order and grouping, exactly, and have a zero."""

import dataclasses
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.gain import SCORE_BINS, DetectionCounts, SparseCounts
from transforms.functional.quality import Mean, Quality
from transforms.summarize import SumFn
from transforms.sums import ArmSums, Changes, TileSums, add_by_key

SEEDS = st.integers(0, 2**32 - 1)


def draw_mean(rng) -> Mean:
    """Return a sum that floating point could not add in any order."""
    return Mean.of(float(rng.standard_normal() * 10.0 ** rng.integers(-9, 9)), 3)


def draw_counts(rng) -> DetectionCounts:
    index = np.unique(rng.integers(0, 2 * SCORE_BINS, 8))
    bins = SparseCounts(index, rng.integers(1, 5, len(index)))
    return DetectionCounts(*rng.integers(0, 9, (3, 1)), bins)


def draw_arm(rng) -> ArmSums:
    classes = [name for name in ("car", "bus") if rng.random() < 0.7]
    return ArmSums(
        Quality(draw_mean(rng), draw_mean(rng)),
        draw_mean(rng),
        draw_mean(rng),
        {name: draw_counts(rng) for name in classes},
    )


def draw_changes(rng) -> Changes:
    counts = [field.name for field in dataclasses.fields(Changes) if field.name != "score_shift"]
    numbers = rng.integers(0, 9, len(counts)).tolist()
    return Changes(**dict(zip(counts, numbers, strict=True)), score_shift=draw_mean(rng))


def draw_sums(seed: int) -> TileSums:
    rng = np.random.default_rng(seed)
    arms = [arm for arm in ("before", "after", "null") if rng.random() < 0.7]
    return TileSums(
        {arm: draw_arm(rng) for arm in arms},
        draw_changes(rng),
        *rng.integers(0, 1000, 6).tolist(),
        Fraction(float(rng.random())),
    )


def content(value):
    """Return everything that a sum holds, as plain values that compare exactly."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: content(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value):
        return {f.name: content(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


@given(SEEDS, SEEDS, SEEDS)
def test_sums_of_tiles_add_up_in_any_order(a, b, c):
    x, y, z = (draw_sums(seed) for seed in (a, b, c))
    assert content((x + y) + z) == content(x + (y + z)) == content(z + (y + x))


@given(SEEDS)
def test_sums_have_a_zero(seed):
    x = draw_sums(seed)
    assert content(x + TileSums()) == content(TileSums() + x) == content(x)
    assert content(draw_arm(np.random.default_rng(seed)) + ArmSums()) == content(
        draw_arm(np.random.default_rng(seed))
    )


@given(SEEDS, SEEDS)
def test_every_field_adds(a, b):
    x, y = draw_sums(a), draw_sums(b)
    total = x + y
    for name in ("tiles", "empty", "skipped", "valid_pixels", "skipped_pixels", "area"):
        assert getattr(total, name) == getattr(x, name) + getattr(y, name)
    for field in dataclasses.fields(Changes):
        known = [getattr(sums.changes, field.name) for sums in (x, y, total)]
        assert known[2] == known[0] + known[1]
    for arm in x.arms.keys() & y.arms.keys():
        one, other, both = (sums.arms[arm] for sums in (x, y, total))
        assert both.sharpness == one.sharpness + other.sharpness
        assert both.stability == one.stability + other.stability
        assert both.quality == one.quality + other.quality


@given(st.lists(SEEDS, max_size=6), st.integers(0, 6))
def test_bundles_change_no_sum(seeds, cut):
    """A worker adds tiles one by one, and partial sums of several workers are added."""
    fn, parts = SumFn(TileSums()), [draw_sums(seed) for seed in seeds]
    whole = reduce(fn.add_input, parts, fn.create_accumulator())
    bundles = [
        reduce(fn.add_input, bundle, fn.create_accumulator())
        for bundle in (parts[cut:], parts[:cut])
    ]
    merged = fn.extract_output(fn.merge_accumulators(bundles))
    assert content(merged) == content(whole) == content(reduce(add, parts, TileSums()))


def test_what_only_one_side_has_stays():
    assert add_by_key({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 5, "c": 4}


def test_adding_changes_no_summand():
    x, y = draw_sums(1), draw_sums(2)
    before = content(x)
    x + y
    assert content(x) == before
