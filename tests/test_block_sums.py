"""Sums over blocks are those of whole numbers, whatever the size of the picture."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.block_sums import BLOCK, blacken, block_sums, sum_columns

sizes = st.tuples(st.integers(1, 100), st.integers(1, 100), st.sampled_from([1, 3]))
seeds = st.integers(0, 2**32 - 1)


def witness(values):
    """Add up block by block, in integers."""
    height, width, bands = values.shape
    starts = [range(0, side, BLOCK) for side in (height, width)]
    return np.array(
        [
            [
                values[row : row + BLOCK, col : col + BLOCK].reshape(-1, bands).sum(axis=0)
                for col in starts[1]
            ]
            for row in starts[0]
        ]
    )


@given(sizes, seeds)
def test_sums_are_those_of_integers(size, seed):
    one, two = np.random.default_rng(seed).integers(0, 256, (2, *size), np.uint8)
    wide = one.astype(np.int64)
    assert np.array_equal(block_sums(one), witness(wide))
    assert np.array_equal(block_sums(one, one), witness(wide * wide))
    assert np.array_equal(block_sums(one, two), witness(wide * two))


def test_the_greatest_products_are_added_exactly():
    white = np.full((BLOCK, BLOCK, 3), 255, np.uint8)
    assert np.array_equal(block_sums(white, white), np.full((1, 1, 3), 1024 * 255 * 255))


def test_views_count_like_copies():
    image = np.random.default_rng(0).integers(0, 256, (120, 130, 3), np.uint8)
    part = image[7:97, 11:122]
    assert np.array_equal(block_sums(part), block_sums(part.copy()))


def test_columns_add_up_band_by_band():
    tall = np.arange(2 * 64 * 3, dtype=np.float32).reshape(2, 64, 3)
    assert np.array_equal(sum_columns(tall), tall.reshape(2, 2, BLOCK, 3).sum(axis=2))


def test_a_picture_is_black_where_it_is_not_valid():
    image = np.full((4, 5, 3), 9, np.uint8)
    valid = np.ones((4, 5), bool)
    assert blacken(image, valid) is image
    valid[1, 2] = False
    black = blacken(image, valid)
    assert not black[1, 2].any()
    assert (black[valid] == 9).all()
    assert (image == 9).all()
