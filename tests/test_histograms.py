"""Levels and gradients agree with numpy, and tiles add up to the scene in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured

from transforms.functional.histograms import (
    STEEP,
    Histograms,
    gradient_edges,
    measure_histograms,
)
from transforms.functional.windows import Rectangle, plan_cores

EVERYTHING = (slice(None), slice(None))
PARTS = ("levels", "gradients", "power", "patches")


def whole(image: np.ndarray) -> Histograms:
    return measure_histograms(image, np.ones(image.shape[:2], bool), EVERYTHING)


def equal(a: Histograms, b: Histograms, parts: tuple[str, ...] = PARTS) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in parts)


def tiles(image: np.ndarray, valid: np.ndarray, core: int, halo: int) -> list[Histograms]:
    height, width = valid.shape
    measured = []
    for owned in plan_cores(height=height, width=width, core=core):
        read = owned.grow(halo, height=height, width=width)
        at = read.within(Rectangle(0, 0, width, height))
        measured.append(measure_histograms(image[at], valid[at], owned.within(read)))
    return measured


def noisy(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_levels_are_counted_like_numpy_counts_them():
    image = noisy(50, 70, 0)
    for band in range(3):
        expected, _ = np.histogram(image[..., band], bins=np.arange(257))
        assert whole(image).levels[band].tolist() == expected.tolist()


@pytest.mark.parametrize("make", [noisy, textured])
def test_gradients_are_the_central_differences_of_numpy(make):
    image = make(60, 80, 1)
    measured = whole(image)
    for band in range(3):
        down, across = np.gradient(image[..., band].astype(float))
        magnitude = np.sqrt(down**2 + across**2)[1:-1, 1:-1]
        expected, _ = np.histogram(magnitude, gradient_edges())
        assert measured.gradients[band].tolist() == expected.tolist()


def test_the_bins_hold_every_gradient_and_know_what_is_steep():
    edges = gradient_edges()
    assert len(edges) == 65
    assert (np.diff(edges) > 0).all()
    assert STEEP in edges
    checks = np.zeros((3, 3, 3), np.uint8)
    checks[1, 2], checks[2, 1] = 255, 255
    # The steepest gradient that there is: 255 / 2 both across and down, so 180.3.
    assert whole(checks).gradients[:, -1].tolist() == [1, 1, 1]
    assert edges[-2] <= 255 / np.sqrt(2) < edges[-1]


@pytest.mark.parametrize("level", [0, 32, 255])
def test_a_flat_picture_has_one_level_and_no_gradient(level):
    measured = whole(np.full((70, 70, 3), level, np.uint8))
    assert (measured.levels[:, level] == 4900).all()
    assert (measured.gradients[:, 0] == 68 * 68).all()
    assert not measured.power.any()


@settings(max_examples=25)
@given(
    core=st.integers(1, 60).map(lambda size: size + 20),
    halo=st.integers(1, 9),
    seed=st.integers(0, 5),
)
def test_tiles_add_up_to_the_scene(core, halo, seed):
    image = noisy(83, 101, seed)
    valid = np.random.default_rng(seed).random((83, 101)) > 0.02
    total = sum(tiles(image, valid, core, halo), Histograms())
    scene = measure_histograms(image, valid, EVERYTHING)
    assert equal(total, scene, ("levels", "gradients"))
    assert total.levels.sum() == 3 * valid.sum()


def test_without_a_halo_levels_still_add_up():
    image, valid = noisy(64, 64, 0), np.ones((64, 64), bool)
    total = sum(tiles(image, valid, 20, 0), Histograms())
    assert equal(total, whole(image), ("levels",))
    assert total.gradients.sum() < whole(image).gradients.sum()


@settings(max_examples=15)
@given(st.permutations(range(9)), st.integers(0, 9))
def test_the_order_and_the_grouping_of_the_tiles_change_nothing(order, cut):
    image, valid = textured(200, 200, 2), np.ones((200, 200), bool)
    measured = tiles(image, valid, 80, 4)
    straight = sum(measured, Histograms())
    shuffled = [measured[index] for index in order]
    left, right = sum(shuffled[:cut], Histograms()), sum(shuffled[cut:], Histograms())
    assert equal(left + right, straight)
    assert straight.patches == 4


def test_nothing_is_the_zero():
    measured = whole(textured(90, 90, 0))
    assert equal(measured + Histograms(), measured)
    assert equal(Histograms() + measured, measured)
    assert not any(np.any(getattr(Histograms(), name)) for name in PARTS)


def test_pixels_without_data_do_not_count():
    image, valid = textured(128, 128, 0), np.ones((128, 128), bool)
    valid[:, 64:] = False
    spoilt = image.copy()
    spoilt[:, 64:] = 255
    assert equal(
        measure_histograms(spoilt, valid, EVERYTHING), measure_histograms(image, valid, EVERYTHING)
    )
    assert equal(measure_histograms(spoilt, valid, EVERYTHING), whole(image[:, :64]))


def test_the_halo_gives_neighbours_and_is_not_counted():
    image, valid = noisy(40, 40, 0), np.ones((40, 40), bool)
    measured = measure_histograms(image, valid, (slice(10, 30), slice(10, 30)))
    assert measured.levels.sum(axis=1).tolist() == [400] * 3
    assert measured.gradients.sum(axis=1).tolist() == [400] * 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 9), (9, 2)])
def test_a_strip_without_inner_pixels_has_levels_but_no_gradients(shape):
    measured = whole(np.zeros((*shape, 3), np.uint8))
    assert measured.levels[:, 0].tolist() == [shape[0] * shape[1]] * 3
    assert not measured.gradients.any()
