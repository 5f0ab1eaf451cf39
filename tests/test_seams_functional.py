"""Where cores meet: each pair of pixels once, against numpy, and what the ratio says."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import textured
from scipy.stats import bootstrap

from transforms.functional.seams import (
    FLOOR,
    LEAST_LINES,
    LINES,
    STEP,
    STRONG,
    Border,
    Edge,
    Jumps,
    Seams,
    jumps_between,
    sample_edges,
)
from transforms.functional.windows import Rectangle, plan_cores

FLAT = np.full((256, 256, 3), 90, np.uint8)


def edges(before, after, valid, *, core=64, origin=(0, 0), halo=0) -> dict[Border, list[Edge]]:
    """Return the edges of all cores of a scene, each read with a halo, by their border."""
    height, width = valid.shape
    whole, found = Rectangle(0, 0, width, height), defaultdict(list)
    for owned in plan_cores(height=height, width=width, core=core, origin=origin):
        read = owned.grow(halo, height=height, width=width)
        at = read.within(whole)
        parts = sample_edges(before[at], after[at], valid[at], core=owned, read=read)
        for border, edge in parts:
            found[border].append(edge)
    return found


def seams(before, after, valid=None, **grid) -> Seams:
    """Return the jumps of a scene, summed over the lines of its borders."""
    valid = np.ones(before.shape[:2], bool) if valid is None else valid
    lines = defaultdict(Jumps)
    for (axis, position, _, _), met in edges(before, after, valid, **grid).items():
        if len(met) == 2:
            lines[axis, position] += jumps_between(*met)
    return sum((Seams.of(jumps) for jumps in lines.values()), Seams.none())


def chessboard(image: np.ndarray, step: int, core: int = 64) -> np.ndarray:
    """Return the picture with `step` levels added to every second core."""
    rows, columns = np.indices(image.shape[:2]) // core
    odd = (rows + columns) % 2
    return np.clip(image.astype(int) + step * odd[..., None], 0, 255).astype(np.uint8)


def jump(a: np.ndarray, b: np.ndarray) -> int:
    return int((FLOOR + np.minimum(np.abs(a.astype(int) - b), STRONG)).sum())


def expected(image, valid, cuts) -> tuple[int, int, int, int]:
    """Return across, pairs, inside and pairs of the borders between rows, pixel by pixel."""
    across = pairs = inside = inside_pairs = 0
    columns = range(0, image.shape[1], STEP)
    for above, cut, below in zip(cuts, cuts[1:], cuts[2:], strict=False):
        lines = [cut - d for d in LINES if d < cut - above]
        lines += [cut + d for d in LINES if d < below - cut]
        for row in (cut, *lines):
            for column in columns:
                if valid[row, column] and valid[row - 1, column]:
                    found = jump(image[row, column], image[row - 1, column])
                    across, pairs = across + found * (row == cut), pairs + (row == cut)
                    inside += found * (row != cut)
                    inside_pairs += row != cut
    return across, pairs, inside, inside_pairs


@given(
    st.integers(0, 99),
    st.sampled_from([64, 96, 128]),
    st.sampled_from([(0, 0), (32, 0), (32, 32)]),
    st.integers(0, 40),
)
def test_every_pair_of_pixels_is_that_of_a_plain_loop(seed, core, origin, halo):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 30, (200, 168, 3), np.uint8)
    valid = rng.random((200, 168)) < 0.8
    valid[::32] = valid[:, ::32] = True  # so that every border has a pair
    pictures = image, image[:, ::-1]
    found = seams(*pictures, valid, core=core, origin=origin, halo=halo).jumps
    for version, picture in enumerate(pictures):
        wanted = np.zeros(4, int)
        for axis, first in ((0, origin[1]), (1, origin[0])):
            turned = (picture, valid) if axis == 0 else (picture.transpose(1, 0, 2), valid.T)
            size = len(turned[0])
            wanted += expected(*turned, sorted({0, *range(first, size, core), size}))
        across, inside = found.across[version], found.inside[version]
        assert wanted.tolist() == [across, found.across_pairs, inside, found.inside_pairs]


def test_both_cores_of_a_border_look_at_the_same_places():
    image = textured(300, 300, seed=0)
    inner = {
        border: met
        for border, met in edges(image, image, np.ones((300, 300), bool)).items()
        if 0 < border[1] < 300
    }
    assert len(inner) == 2 * 4 * 5
    for (_, _, start, stop), met in inner.items():
        assert {edge.outer.shape for edge in met} == {(2, -(-(stop - start) // STEP), 3)}


@given(st.integers(0, 99))
def test_edges_meet_in_either_order(seed):
    rng = np.random.default_rng(seed)
    image, valid = rng.integers(0, 256, (128, 128, 3), np.uint8), rng.random((128, 128)) < 0.5
    for met in edges(image, image[::-1], valid).values():
        if len(met) == 2:
            assert jumps_between(*met) == jumps_between(*met[::-1])


def test_edges_without_a_valid_pair_or_without_an_inside_count_nothing():
    valid = np.ones((128, 128), bool)
    valid[64] = False
    image = textured(128, 128, seed=1)
    below = edges(image, image, valid)[0, 64, 0, 64]
    assert jumps_between(*below) == Jumps()
    narrow = edges(image[:, :8], image[:, :8], np.ones((128, 8), bool), core=4)
    assert {jumps_between(*met) for met in narrow.values() if len(met) == 2} >= {Jumps()}


@given(st.integers(0, 30))
def test_in_a_picture_without_content_the_ratio_is_one_more_than_the_seam(step):
    found = seams(FLAT, chessboard(FLAT, step))
    assert found.jumps.ratios == (1, 1 + min(step, STRONG))
    assert found.interval() == pytest.approx((found.excess, found.excess))


@pytest.mark.parametrize("seed", range(3))
def test_pictures_that_do_not_change_have_an_excess_of_exactly_one(seed):
    image = textured(256, 256, seed)
    assert seams(image, image).excess == 1
    assert seams(image, image).interval() == (1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_seam_of_three_levels_shows_in_a_picture_with_content(seed):
    image = textured(512, 512, seed)
    smooth = (image // 8 + 90).astype(np.uint8)
    found = seams(smooth, chessboard(smooth, 3))
    assert found.excess > 1.1
    assert found.interval()[0] > 1


def test_blocks_of_compression_are_no_seam():
    """Every eighth line has a jump, borders and lines inside alike, and deblurring changes it."""
    rows = np.indices((256, 256))[0] // 8 % 2
    weak, strong = (FLAT + (height * rows[..., None]).astype(np.uint8) for height in (2, 5))
    assert seams(weak, strong).excess == 1


def test_a_single_core_has_no_borders():
    found = seams(FLAT, FLAT, core=256)
    assert (found.lines, found.jumps) == (0, Jumps())
    assert np.isnan(found.jumps.ratios).all()
    assert found.interval() is None


def random_lines(n: int, seed: int) -> list[Jumps]:
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(n):
        across, inside = rng.normal(3, 0.4, 2), rng.normal(3, 0.1, 2)
        totals = np.rint(across * 384).astype(int), np.rint(inside * 384 * 8).astype(int)
        lines.append(Jumps(tuple(totals[0].tolist()), tuple(totals[1].tolist()), 128, 1024))
    return lines


@given(st.integers(0, 99), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order(seed, random):
    parts = [Seams.of(jumps) for jumps in random_lines(9, seed)]
    straight = sum(parts, Seams.none())
    random.shuffle(parts)
    mixed = sum(parts, Seams.none())
    assert (mixed.jumps, mixed.lines) == (straight.jumps, straight.lines)
    assert (mixed.moments == straight.moments).all()


def test_the_interval_agrees_with_a_bootstrap_of_many_lines():
    lines = random_lines(200, 0)

    def excess(index):
        return np.log(sum((Seams.of(lines[i]) for i in index), Seams.none()).excess)

    resampled = bootstrap(
        (np.arange(200),), excess, n_resamples=400, vectorized=False, rng=np.random.default_rng(0)
    )
    low, high = sum(map(Seams.of, lines), Seams.none()).interval()
    assert np.log(high / low) / (2 * 1.972) == pytest.approx(resampled.standard_error, rel=0.15)


def test_the_interval_of_few_lines_holds_the_truth():
    """Lines without a seam: 1 lies outside 95 % intervals of 6 lines in about 5 of 100 cases."""
    known = [sum(map(Seams.of, random_lines(6, seed)), Seams.none()) for seed in range(1000)]
    held = [low <= 1 <= high for low, high in (each.interval() for each in known)]
    assert 0.93 <= np.mean(held) <= 0.97


def test_fewer_lines_have_no_interval():
    lines = random_lines(LEAST_LINES, 0)
    assert sum(map(Seams.of, lines), Seams.none()).interval() is not None
    assert sum(map(Seams.of, lines[1:]), Seams.none()).interval() is None


def test_a_line_without_pairs_is_no_line():
    assert Seams.of(Jumps()).lines == 0


def test_lines_inside_are_nearer_to_their_border_than_to_the_next():
    assert all(near < far for near, far in pairwise(LINES))
    assert max(LINES) <= 64 // 2
