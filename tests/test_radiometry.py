"""The lock: block means stay, whatever the network did, wherever the tile was cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured

from transforms.functional.radiometry import BLOCK, REACH, lock_low_frequencies


def block_drift(before, after, valid, origin):
    """Return the greatest drift of a block's mean, block by block: the slow witness."""
    height, width = valid.shape
    change, worst = after.astype(float) - before, 0.0
    for top in range(-(origin[1] % BLOCK), height, BLOCK):
        for left in range(-(origin[0] % BLOCK), width, BLOCK):
            at = np.s_[max(top, 0) : top + BLOCK, max(left, 0) : left + BLOCK]
            if valid[at].any():
                worst = max(worst, float(np.abs(change[at][valid[at]].mean(axis=0)).max()))
    return worst


def everywhere(image):
    return np.ones(image.shape[:2], bool)


sizes = st.tuples(st.integers(1, 140), st.integers(1, 140))
origins = st.tuples(st.integers(0, 200), st.integers(0, 200))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def outputs(draw):
    """Draw a picture, what a network could make of it, and where it is valid."""
    (height, width), rng = draw(sizes), np.random.default_rng(draw(seeds))
    level, spread = draw(st.sampled_from([(128, 20), (2, 3), (253, 3), (128, 400)]))
    before = rng.normal(level, spread, (height, width, 3))
    noise, offset = draw(st.sampled_from([0, 3, 60])), draw(st.floats(-40, 40))
    slope = np.linspace(-1, 1, width)[:, None] * draw(st.floats(-30, 30))
    after = before + offset + slope + rng.normal(0, 1, before.shape) * noise
    valid = rng.random((height, width)) < draw(st.sampled_from([0.02, 0.7, 1.1]))
    return *(np.clip(np.rint(each), 0, 255).astype(np.uint8) for each in (before, after)), valid


@given(outputs(), origins)
@settings(max_examples=150, deadline=None)
def test_no_block_drifts_by_half_a_grey_level(output, origin):
    before, after, valid = output
    locked = lock_low_frequencies(before, after, valid, origin)
    assert locked.shape == before.shape
    assert locked.dtype == np.uint8
    assert block_drift(before, locked, valid, origin) < 0.5


@given(outputs(), origins)
@settings(max_examples=50, deadline=None)
def test_pixels_without_data_stay(output, origin):
    before, after, valid = output
    locked = lock_low_frequencies(before, after, valid, origin)
    np.testing.assert_array_equal(locked[~valid], before[~valid])


@given(outputs(), origins)
@settings(max_examples=50, deadline=None)
def test_what_the_network_left_alone_is_left_alone(output, origin):
    before, _, valid = output
    locked = lock_low_frequencies(before, before.copy(), valid, origin)
    np.testing.assert_array_equal(locked, before)


@given(st.integers(-60, 60), st.integers(-60, 60), origins)
@settings(max_examples=30, deadline=None)
def test_a_constant_shift_is_taken_back(red, blue, origin):
    before = np.clip(textured(100, 90, 3), 60, 195)
    after = (before.astype(int) + np.array([red, 0, blue])).astype(np.uint8)
    locked = lock_low_frequencies(before, after, everywhere(before), origin)
    np.testing.assert_array_equal(locked, before)


def test_a_slope_is_taken_back_without_steps():
    before = np.full((256, 256, 3), 100, np.uint8)
    after = before + np.linspace(0, 60, 256).astype(np.uint8)[:, None]
    locked = lock_low_frequencies(before, after, everywhere(before), (0, 0)).astype(int)
    inner = locked[BLOCK:-BLOCK, BLOCK:-BLOCK]
    assert np.abs(inner - 100).max() <= 1
    assert np.abs(locked - 100).max() <= 5  # the outer blocks have neighbours on one side only


def test_detail_finer_than_a_block_is_kept():
    before = np.full((128, 128, 3), 100, np.uint8)
    after = before.copy()
    after[::2] += 40
    after[1::2] -= 40
    locked = lock_low_frequencies(before, after, everywhere(before), (0, 0))
    np.testing.assert_array_equal(locked, after)


@given(
    seeds,
    st.tuples(*[st.integers(0, 4)] * 2),
    st.tuples(*[st.integers(5, 9)] * 2),
    st.sampled_from([0.3, 1.1]),
    st.sampled_from([0, 7]),
)
@settings(max_examples=40, deadline=None)
def test_a_tile_agrees_with_the_scene_to_the_last_bit_within_reach(seed, start, stop, share, cut):
    rng = np.random.default_rng(seed)
    size = 9 * BLOCK - cut  # the scene ends within a block
    before, after = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    after[: size // 2] = np.clip(before[: size // 2] + rng.normal(0, 9, (size // 2, size, 3)), 0, 9)
    valid = rng.random((size, size)) < share
    whole = lock_low_frequencies(before, after, valid, (0, 0))
    (top, left), (bottom, right) = ([BLOCK * index for index in each] for each in (start, stop))
    at = np.s_[top:bottom, left:right]
    tile = lock_low_frequencies(before[at], after[at], valid[at], (left, top))
    # At a border of the scene itself nothing is missing, so nothing is dropped.
    inner = np.s_[
        (REACH if top else 0) : size if bottom >= size else bottom - top - REACH,
        (REACH if left else 0) : size if right >= size else right - left - REACH,
    ]
    np.testing.assert_array_equal(tile[inner], whole[at][inner])


def test_a_pixel_depends_on_nothing_beyond_its_reach():
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    locked = lock_low_frequencies(before, after, everywhere(before), (0, 0))
    after[130, 130] ^= 255
    touched = (lock_low_frequencies(before, after, everywhere(before), (0, 0)) != locked).any(
        axis=2
    )
    rows, cols = np.nonzero(touched)
    assert touched.any()
    assert max(np.abs(rows - 130).max(), np.abs(cols - 130).max()) < REACH


def test_arrays_of_other_sizes_are_refused():
    before = textured(64, 64, 0)
    with pytest.raises(ValueError, match="of one size"):
        lock_low_frequencies(before, before[:32], everywhere(before), (0, 0))
    with pytest.raises(ValueError, match="of one size"):
        lock_low_frequencies(before, before, everywhere(before)[:5], (0, 0))
