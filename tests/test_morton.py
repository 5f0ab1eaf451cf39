"""The Z-order curve: known codes, and neighbours that stay close."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.morton import BITS, LAST, morton_codes

coordinates = st.floats(-1e7, 1e7, allow_nan=False)
points = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=30).map(np.array)


def interleave(x: int, y: int) -> int:
    """Interleave bits one by one: the definition, as a witness."""
    return sum((x >> i & 1) << 2 * i | (y >> i & 1) << 2 * i + 1 for i in range(BITS))


def test_codes_interleave_the_bits_of_the_cells():
    side = 2**BITS
    cells = np.random.default_rng(0).integers(0, side, (200, 2))
    # The two far corners fix the extent, so that a point's cell is its coordinate.
    placed = np.concatenate([cells, [[0, 0], [side, side]]]).astype(np.float64)
    expected = [interleave(int(x), int(y)) for x, y in cells]
    assert morton_codes(placed)[:-2].tolist() == expected


@given(points)
def test_codes_ignore_the_order_of_the_points(given_points: np.ndarray):
    order = np.random.default_rng(1).permutation(len(given_points))
    assert (morton_codes(given_points[order]) == morton_codes(given_points)[order]).all()


def test_a_quarter_of_the_extent_is_one_stretch_of_the_curve():
    grid = np.stack(np.meshgrid(np.arange(64.0), np.arange(64.0)), axis=-1).reshape(-1, 2)
    order = np.argsort(morton_codes(grid), kind="stable")
    quarters = (grid[order] // 32) @ [1, 2]
    assert (np.diff(quarters) >= 0).all()


def test_points_without_a_place_come_last():
    codes = morton_codes(np.array([[1.0, 2.0], [np.nan, np.nan], [np.inf, 0.0]]))
    assert codes.tolist() == [0, LAST, LAST]


def test_one_place_for_all_has_one_code():
    assert morton_codes(np.full((5, 2), 7.0)).tolist() == [0] * 5


def test_no_points_have_no_codes():
    assert morton_codes(np.zeros((0, 2))).shape == (0,)
