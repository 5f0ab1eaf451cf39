"""The power spectrum agrees with a plain double-precision one, and with what filters do."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured
from scipy.signal.windows import hann

from transforms.functional.spectrum import (
    PATCH,
    POWER_UNIT,
    RINGS,
    mean_power,
    ring_frequencies,
    spectrum_ratio,
    sum_power,
)


def noise(size: int, *, deviation: float = 30, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(128, deviation, (size, size, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def power_of(image: np.ndarray) -> np.ndarray:
    return mean_power(*sum_power(image, np.ones(image.shape[:2], bool)))


def witness(patch: np.ndarray) -> np.ndarray:
    """Mean power per ring of one band of one patch, in double precision, over the full plane."""
    window = np.outer(hann(PATCH, sym=False), hann(PATCH, sym=False))
    spectrum = np.fft.fft2((patch - patch.mean()) * window)
    power = np.abs(spectrum) ** 2 / (window**2).sum()
    across = np.fft.fftfreq(PATCH) * PATCH
    ring = np.rint(np.hypot(across[:, None], across[None, :]))
    return np.array([power[ring == index].mean() for index in range(1, RINGS + 1)])


def test_power_is_that_of_a_double_precision_spectrum():
    image = textured(PATCH, PATCH, 3)
    expected = np.stack([witness(image[..., band].astype(float)) for band in range(3)])
    np.testing.assert_allclose(power_of(image), expected, rtol=1e-5, atol=POWER_UNIT)


def test_white_noise_has_its_variance_as_power_at_every_frequency():
    image = noise(1024, deviation=20)
    np.testing.assert_allclose(power_of(image), 400 + 1 / 12, rtol=0.12)
    assert power_of(image).mean() == pytest.approx(400, rel=0.01)


@pytest.mark.parametrize("ring", [1, 8, 31])
def test_a_wave_has_its_power_in_its_ring(ring):
    wave = 128 + 100 * np.cos(2 * np.pi * ring * np.arange(PATCH) / PATCH)
    image = np.broadcast_to(np.rint(wave)[None, :, None], (PATCH, PATCH, 3)).astype(np.uint8)
    power = power_of(image)[0]
    assert ring_frequencies()[ring - 1] == ring / PATCH
    # The Hann window passes half as much to the neighbours on either side; far off is nothing.
    assert power[ring - 1] > 0.4 * power.max()
    far = np.abs(np.arange(1, RINGS + 1) - ring) > 3
    assert power[far].max() < 1e-3 * power.max()


def test_a_flat_picture_has_no_power():
    assert not power_of(np.full((PATCH, PATCH, 3), 77, np.uint8)).any()


@settings(max_examples=15)
@given(blocks=st.integers(1, 3), seed=st.integers(0, 9))
def test_cores_on_the_grid_of_the_patches_add_up_to_the_scene(blocks, seed):
    """The chess board repeats after two patches, so that cores of 128 px see the same squares."""
    image = noise(2 * PATCH * blocks, seed=seed)
    valid = np.random.default_rng(seed).random(image.shape[:2]) > 1e-4
    whole, patches = sum_power(image, valid)
    total, count = np.zeros_like(whole), 0
    for row in range(0, image.shape[0], 2 * PATCH):
        for column in range(0, image.shape[1], 2 * PATCH):
            at = slice(row, row + 2 * PATCH), slice(column, column + 2 * PATCH)
            power, part = sum_power(image[at], valid[at])
            total, count = total + power, count + part
    assert count == patches
    assert (total == whole).all()


def test_half_of_the_whole_patches_count_in_turn():
    image = noise(4 * PATCH + 5)
    assert sum_power(image, np.ones(image.shape[:2], bool))[1] == 8
    valid = np.zeros(image.shape[:2], bool)
    valid[:PATCH, PATCH : 2 * PATCH] = True
    assert sum_power(image, valid)[1] == 0
    valid[PATCH : 2 * PATCH, PATCH : 2 * PATCH] = True
    assert sum_power(image, valid)[1] == 1


def test_a_patch_with_an_invalid_pixel_does_not_count():
    image = noise(2 * PATCH)
    valid = np.ones(image.shape[:2], bool)
    valid[3, 5] = False
    power, patches = sum_power(image, valid)
    alone, one = sum_power(image[PATCH:, PATCH:], valid[PATCH:, PATCH:])
    assert (patches, one) == (1, 1)
    assert (power == alone).all()


@pytest.mark.parametrize("shape", [(PATCH - 1, 500), (500, PATCH - 1), (0, 0)])
def test_a_core_smaller_than_a_patch_has_none(shape):
    power, patches = sum_power(np.zeros((*shape, 3), np.uint8), np.ones(shape, bool))
    assert (patches, power.any(), power.shape) == (0, False, (3, RINGS))
    assert np.isnan(mean_power(power, patches)).all()


def test_a_filter_lowers_the_ratio_to_its_transfer_function():
    """Of white noise it is the root mean square of |H| over the ring."""
    sharp = noise(1024, deviation=40)
    smooth = cv2.GaussianBlur(sharp.astype(np.float64), (9, 9), 0.8, sigmaY=0.8)
    blurred = np.rint(smooth).astype(np.uint8)
    taps = cv2.getGaussianKernel(9, 0.8).ravel()
    across = np.fft.fftfreq(PATCH)
    offsets = np.arange(-4, 5)
    transfer = np.cos(2 * np.pi * across[:, None] * offsets) @ taps
    both = np.outer(transfer, transfer)
    ring = np.rint(np.hypot(across[:, None], across[None, :]) * PATCH)
    expected = [np.sqrt((both[ring == r] ** 2).mean()) for r in range(1, RINGS + 1)]
    ratio = spectrum_ratio(power_of(blurred), power_of(sharp))
    np.testing.assert_allclose(ratio, np.tile(expected, (3, 1)), rtol=0.03)
    assert min(expected) < 0.2


def test_a_picture_has_ratio_1_to_itself():
    power = power_of(textured(128, 128, 0))
    assert (spectrum_ratio(power, power) == 1).all()


def test_the_ratio_to_no_power_is_not_defined():
    ratio = spectrum_ratio(np.array([4.0, 4.0]), np.array([0.0, 1.0]))
    assert np.isnan(ratio[0])
    assert ratio[1] == 2
