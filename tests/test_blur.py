"""Blur kernels, the camera, and the random degradations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from configs.train_deblurrer import BlurSampling
from transforms.functional.blur import (
    apply_kernel,
    blur_tile,
    convolve,
    disc_kernel,
    gaussian_kernel,
    motion_kernel,
    motion_path,
    path_kernel,
    shake_path,
)
from transforms.functional.blur_sampler import BlurModel, Degradation, degrade, sample_degradation
from transforms.functional.camera import (
    MID_GREY,
    add_sensor_noise,
    decode_srgb,
    encode_srgb,
    through_jpeg,
)

lengths = st.floats(0.0, 40.0)
angles = st.floats(-360.0, 360.0)
seeds = st.integers(0, 2**32 - 1)


def picture(seed: int = 0, side: int = 48) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60, (side, side, 3))
    return np.clip(ndimage.gaussian_filter(noise, (1, 1, 0)) * 3 - 256, 0, 255).astype(np.uint8)


def blur_model() -> BlurModel:
    return BlurModel(**BlurSampling().model_dump())


@given(lengths, angles)
def test_a_motion_kernel_sums_to_one_and_has_a_centre(length, angle):
    kernel = motion_kernel(length, angle)
    assert kernel.dtype == np.float32
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert ndimage.center_of_mass(kernel) == pytest.approx(
        [kernel.shape[0] // 2, kernel.shape[0] // 2], abs=1e-3
    )


@given(lengths, angles)
def test_the_spread_of_a_motion_kernel_is_that_of_a_uniform_smear(length, angle):
    kernel = motion_kernel(length, angle).astype(np.float64)
    offsets = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    along = (
        np.cos(np.radians(angle)) * offsets[None, :] - np.sin(np.radians(angle)) * offsets[:, None]
    )
    variance = (kernel * along**2).sum()
    # A uniform line has variance L^2 / 12; bilinear splatting adds at most 1/4 px^2 per axis.
    assert length**2 / 12 - 0.01 <= variance <= length**2 / 12 + 0.51


def test_angles_are_counter_clockwise_on_the_screen():
    rising = motion_kernel(9, 45)
    assert rising[0, -1] + rising[1, -2] > 0
    assert rising[0, 0] + rising[1, 1] == 0
    np.testing.assert_array_equal(motion_kernel(9, 0)[0], 0)
    np.testing.assert_allclose(motion_kernel(9, 90), motion_kernel(9, 0).T, atol=1e-6)


def test_no_motion_is_the_identity():
    np.testing.assert_array_equal(motion_kernel(0, 33), [[1]])
    np.testing.assert_array_equal(apply_kernel(picture(), motion_kernel(0, 33)), picture())


def test_a_motion_below_a_pixel_keeps_most_of_the_light_in_place():
    kernel = motion_kernel(1, 0)
    assert kernel.max() == pytest.approx(0.75, abs=0.01)


def test_an_integer_motion_along_a_row_is_a_moving_average():
    row = motion_kernel(5, 0)
    np.testing.assert_allclose(row[3, 2:5], 0.2, atol=0.003)


@pytest.mark.parametrize("arguments", [{"length": -1.0}, {"length": 1.0, "amplitude": -1.0}])
def test_negative_motion_is_refused(arguments):
    with pytest.raises(ValueError, match="must be >= 0"):
        motion_path(angle=0, **arguments)


def test_vibration_widens_across_the_motion_only():
    path = motion_path(10, 0, amplitude=2, periods=2)
    assert np.ptp(path[:, 1]) == pytest.approx(4, abs=0.05)
    assert np.ptp(path[:, 0]) == pytest.approx(10, abs=0.2)
    assert path.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_a_shake_is_centred_and_no_longer_than_its_walk(seed):
    path = shake_path(np.random.default_rng(seed), extent=20)
    assert path.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert np.hypot(*np.diff(path, axis=0).T).sum() <= 20 + 1e-6
    assert path_kernel(path).sum() == pytest.approx(1, abs=1e-5)


def test_a_shake_is_the_same_for_the_same_seed():
    paths = [shake_path(np.random.default_rng(5), extent=9) for _ in range(2)]
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize("kernel", [gaussian_kernel(0.3), gaussian_kernel(2.5), disc_kernel(0.4)])
def test_a_defocus_kernel_is_round_and_sums_to_one(kernel):
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1])


@pytest.mark.parametrize("make", [gaussian_kernel, disc_kernel])
def test_defocus_needs_a_size(make):
    with pytest.raises(ValueError, match="must be > 0 px"):
        make(0.0)


@pytest.mark.parametrize("level", [0, 1, 17, 128, 254, 255])
@pytest.mark.parametrize("length", [1.5, 8.0, 25.0])
def test_a_flat_picture_stays_as_it_is_up_to_its_border(level, length):
    flat = np.full((40, 30, 3), level, np.uint8)
    np.testing.assert_array_equal(apply_kernel(flat, motion_kernel(length, 30)), flat)


def test_convolution_agrees_with_scipy():
    light = decode_srgb(picture())
    kernel = path_kernel(np.array([[-2.0, 1.0], [0.0, 0.0], [0.3, -1.7]]))
    wanted = ndimage.convolve(light.astype(np.float64), kernel[..., None], mode="mirror")
    np.testing.assert_allclose(convolve(light, kernel), wanted, atol=1e-5)


def test_light_is_averaged_not_its_encoding():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 255
    blurred = apply_kernel(stripes, motion_kernel(20, 0))[16, 16, 0]
    # Half the light is 188 in sRGB; half the grey value would be 128.
    assert blurred == pytest.approx(188, abs=6)


def test_every_grey_level_survives_the_way_to_light_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(encode_srgb(decode_srgb(levels)), levels)


def test_light_outside_the_range_is_clipped():
    light = np.array([[[-0.5, 0.0, 3.0]]], np.float32)
    np.testing.assert_array_equal(encode_srgb(light), [[[0, 0, 255]]])


def test_noise_has_the_stated_strength_at_mid_grey_and_grows_with_light():
    rng = np.random.default_rng(0)
    deviations = [
        (add_sensor_noise(np.full((200, 200, 3), level, np.float32), 0.004, rng) - level).std()
        for level in (0.0, MID_GREY, 4 * MID_GREY)
    ]
    assert deviations == pytest.approx([0.0004, 0.00402, 0.008], rel=0.03)


def test_no_noise_changes_nothing_and_negative_noise_is_refused():
    light, rng = decode_srgb(picture()), np.random.default_rng(0)
    np.testing.assert_array_equal(add_sensor_noise(light, 0, rng), light)
    with pytest.raises(ValueError, match="noise must be >= 0"):
        add_sensor_noise(light, -0.1, rng)


def test_jpeg_keeps_the_order_of_colours():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert through_jpeg(red, 95).mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=3)


def test_the_same_tile_and_seed_give_the_same_blurred_tile():
    tiles = [blur_tile(picture(), length=7, angle=20, seed=3) for _ in range(2)]
    np.testing.assert_array_equal(*tiles)
    assert (blur_tile(picture(), length=7, angle=20, seed=4) != tiles[0]).any()


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_drawn_kernels_sum_to_one_and_stay_within_reach(seed):
    model = blur_model()
    kernel = sample_degradation(model, np.random.default_rng(seed)).kernel
    if kernel is not None:
        assert kernel.sum() == pytest.approx(1, abs=1e-4)
        assert kernel.shape[0] // 2 <= model.reach


def test_the_shares_of_drawn_degradations_are_as_configured():
    rng = np.random.default_rng(1)
    drawn = [sample_degradation(blur_model(), rng) for _ in range(600)]
    blurred = [degradation for degradation in drawn if degradation.kernel is not None]
    assert 1 - len(blurred) / len(drawn) == pytest.approx(0.1, abs=0.04)
    jpegs = [degradation for degradation in blurred if degradation.jpeg_quality is not None]
    assert len(jpegs) / len(blurred) == pytest.approx(0.5, abs=0.07)
    assert {degradation.jpeg_quality for degradation in jpegs} <= set(range(75, 98))


def test_a_sharp_pair_is_untouched():
    sharp = Degradation(kernel=None, noise=0.0, jpeg_quality=None)
    np.testing.assert_array_equal(degrade(picture(), sharp, np.random.default_rng(0)), picture())


def test_degrading_keeps_shape_and_mean_light():
    rng = np.random.default_rng(2)
    image = picture(side=96)
    mean = decode_srgb(image).mean()
    for _ in itertools.repeat(None, 10):
        taken = degrade(image, sample_degradation(blur_model(), rng), rng)
        assert taken.shape == image.shape
        assert taken.dtype == np.uint8
        assert decode_srgb(taken).mean() == pytest.approx(mean, rel=0.05)
