"""Deconvolution with the known kernel, against scikit-image and its own laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured
from skimage import restoration as witness

from transforms.functional.blur import blur_tile, motion_kernel
from transforms.functional.camera import MID_GREY, decode_srgb, encode_srgb
from transforms.functional.restoration import (
    extend,
    noise_variance,
    restore_richardson_lucy,
    restore_wiener,
    richardson_lucy,
    signal_power,
    wiener_filter,
)
from transforms.functional.sensor import add_noise, smear

SENSOR = {"read_noise": 0.001, "shot_noise": 0.003}
IDENTITY = np.ones((1, 1), np.float32)


def wiener(image, kernel):
    return restore_wiener(image, kernel, **SENSOR, regularisation=60)


def lucy(image, kernel):
    return restore_richardson_lucy(image, kernel, iterations=12)


def squared_error(a, b):
    return float(((a.astype(float) - b) ** 2).mean())


def taken(sharp, kernel, noise, seed=0):
    """Return the picture of a camera whose read and shot noise are `noise` and three times it."""
    field = np.random.default_rng(seed).standard_normal(sharp.shape, dtype=np.float32)
    light = smear(decode_srgb(sharp), kernel)
    return encode_srgb(add_noise(light, field, read_noise=noise, shot_noise=3 * noise))


def test_wiener_agrees_with_scikit_image():
    light = decode_srgb(textured(96, 80, seed=1))
    kernel = motion_kernel(9, 30)
    balance = 0.01
    for band in range(3):
        wanted = witness.wiener(
            light[..., band].astype(np.float64), kernel, balance, reg=np.ones((1, 1)), clip=False
        )
        found = wiener_filter(light, kernel, balance)[..., band]
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("iterations", [1, 3])
def test_richardson_lucy_agrees_with_scikit_image_away_from_the_border(iterations):
    light = decode_srgb(textured(128, 128, seed=2)) + np.float32(0.05)
    kernel = motion_kernel(7, 60)
    found = richardson_lucy(light, kernel, iterations=iterations, accelerate=False)
    inner = slice(40, -40)
    for band in range(3):
        wanted = witness.richardson_lucy(
            light[..., band].astype(np.float64), kernel, num_iter=iterations, clip=False
        )
        np.testing.assert_allclose(found[inner, inner, band], wanted[inner, inner], atol=1e-4)


@pytest.mark.parametrize("restore", [wiener, lucy])
@pytest.mark.parametrize(("length", "angle"), [(7, 0), (11, 45), (15, 90)])
def test_the_known_kernel_brings_much_of_the_picture_back(restore, length, angle):
    sharp = textured(160, 160, seed=3)
    blurred = blur_tile(sharp, length=length, angle=angle, noise=0.001)
    restored = restore(blurred, motion_kernel(length, angle))
    assert restored.dtype == np.uint8
    assert restored.shape == sharp.shape
    # Mirroring tells nothing of what a slanted blur brought in from outside: look away from there.
    inner = np.s_[24:-24, 24:-24]
    left = squared_error(restored[inner], sharp[inner])
    assert left < 0.7 * squared_error(blurred[inner], sharp[inner])


@pytest.mark.parametrize("restore", [wiener, lucy])
def test_more_noise_leaves_less_to_gain(restore):
    sharp, kernel = textured(128, 128, seed=4), motion_kernel(11, 20)

    def left(noise):
        blurred = taken(sharp, kernel, noise)
        return squared_error(restore(blurred, kernel), sharp) / squared_error(blurred, sharp)

    shares = [left(noise) for noise in (0.0, 0.004, 0.02)]
    assert shares == sorted(shares)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_wiener_without_blur_is_the_identity_up_to_regularisation(seed):
    image = textured(48, 40, seed=seed)
    restored = restore_wiener(image, IDENTITY, **SENSOR, regularisation=1e-6)
    np.testing.assert_array_equal(restored, image)


def test_richardson_lucy_without_blur_is_the_identity():
    image = textured(48, 40, seed=5)
    np.testing.assert_array_equal(lucy(image, IDENTITY), image)


@pytest.mark.parametrize("restore", [wiener, lucy])
@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_picture_stays_flat(restore, level):
    flat = np.full((40, 30, 3), level, np.uint8)
    restored = restore(flat, motion_kernel(15, 45))
    np.testing.assert_allclose(restored.astype(int), flat, atol=1)


@pytest.mark.parametrize("restore", [wiener, lucy])
def test_pictures_smaller_than_the_kernel_are_restored_too(restore):
    image = textured(9, 14, seed=6)
    assert restore(image, motion_kernel(21, 45)).shape == image.shape


@given(st.integers(1, 70), st.integers(1, 70), st.floats(0, 21), st.floats(0, 180))
@settings(max_examples=20, deadline=None)
def test_extending_keeps_the_picture(height, width, length, angle):
    light = np.random.default_rng(height).random((height, width, 3), dtype=np.float32)
    wide, inside = extend(light, motion_kernel(length, angle))
    np.testing.assert_array_equal(wide[inside], light)


def test_opposite_edges_of_the_margin_meet_softly():
    light = np.zeros((64, 64, 3), np.float32)
    light[:, 32:] = 1
    wide, _ = extend(light, motion_kernel(15, 0))
    assert np.abs(np.diff(np.concatenate([wide, wide[:, :1]], axis=1), axis=1))[:, -1].max() < 0.15


def test_acceleration_goes_further_in_the_same_steps():
    sharp, kernel = textured(128, 128, seed=7), motion_kernel(15, 0)
    light = smear(decode_srgb(sharp), kernel)
    plain = richardson_lucy(light, kernel, iterations=10, accelerate=False)
    fast = richardson_lucy(light, kernel, iterations=10)
    wanted = decode_srgb(sharp)
    assert squared_error(fast, wanted) < squared_error(plain, wanted)
    assert fast.min() >= 0


def test_the_noise_is_that_of_the_sensor_and_of_rounding():
    grey = encode_srgb(np.full((4, 4, 3), MID_GREY, np.float32))
    light = float(decode_srgb(grey)[0, 0, 0])
    step = float(decode_srgb(grey + np.uint8(1))[0, 0, 0]) - light
    found = noise_variance(grey, read_noise=0.002, shot_noise=0.01)
    assert found == pytest.approx(0.002**2 + 0.01**2 * light + step**2 / 12, rel=0.01)


def test_power_falls_with_frequency_and_has_mean_one():
    half = signal_power((32, 32))
    assert half.shape == (32, 17)
    assert half[0, 0] > half[0, 1] > half[0, 16]
    whole = np.concatenate([half, half[:, 1:16]], axis=1)
    assert whole.mean() == pytest.approx(1, rel=1e-4)


def test_no_iteration_is_no_restoration():
    with pytest.raises(ValueError, match="iterations must be >= 1, got iterations=0"):
        restore_richardson_lucy(textured(16, 16, seed=0), IDENTITY, iterations=0)
