"""The blur of a single picture is found again; values against blur that was put in."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import textured

from transforms.functional.blur import motion_kernel
from transforms.functional.blur_estimate import (
    BlurEstimate,
    blur_level,
    estimate_blur,
    measure_sharpness,
)
from transforms.functional.camera import decode_srgb, encode_srgb
from transforms.functional.motion_spectrum import compare, measure_spectrum
from transforms.functional.render import render_scene
from transforms.functional.sensor import add_noise, noise_field, smear
from transforms.functional.windows import Rectangle

SIDE = 384


def blurred(image, length: float, angle: float):
    """Return the image smeared and with the noise of a good sensor, as a run blurs it."""
    light = smear(decode_srgb(image), motion_kernel(length, angle))
    field = noise_field(Rectangle(0, 0, image.shape[1], image.shape[0]), seed=1)
    return encode_srgb(add_noise(light, field, read_noise=0.001, shot_noise=0.003))


def estimate(image) -> BlurEstimate:
    return estimate_blur(image, everywhere(image))


def everywhere(image):
    return np.ones(image.shape[:2], np.bool_)


def turn_between(first: float, second: float) -> float:
    """Return the angle in degrees between two directions, 0 to 90."""
    return abs((first - second + 90) % 180 - 90)


@pytest.fixture(scope="module")
def rendered():
    return render_scene(seed=41, height=SIDE, width=SIDE).image


@pytest.fixture(scope="module")
def smeared(rendered):
    return blurred(rendered, 11, 25)


@pytest.mark.parametrize("angle", [0, 35, 90, 152])
@pytest.mark.parametrize("length", [5, 9, 15, 25])
def test_a_rendered_scene_tells_its_motion_within_one_pixel_and_five_degrees(
    rendered, length, angle
):
    found = estimate(blurred(rendered, length, angle))
    assert abs(found.length - length) <= 1
    assert turn_between(found.angle, angle) <= 5


@pytest.mark.parametrize(("length", "angle"), [(7, 70), (15, 110)])
def test_a_texture_tells_its_motion_within_one_pixel_and_five_degrees(length, angle):
    found = estimate(blurred(textured(SIDE, SIDE, seed=3), length, angle))
    assert abs(found.length - length) <= 1
    assert turn_between(found.angle, angle) <= 5


@pytest.mark.parametrize("seed", [41, 42, 43])
def test_a_sharp_scene_is_called_sharp_with_confidence(seed):
    found = estimate(render_scene(seed=seed, height=SIDE, width=SIDE).image)
    assert (found.length, found.angle) == (0, 0)
    assert found.confidence > 0.5


def test_a_transposed_picture_has_the_complement_of_the_angle(smeared):
    found = estimate(smeared)
    turned = estimate(np.ascontiguousarray(smeared.transpose(1, 0, 2)))
    assert turn_between(turned.angle, 90 - found.angle) <= 1
    assert turned.length == pytest.approx(found.length, abs=0.25)
    assert turned.sharpness == found.sharpness


def test_a_mirrored_picture_has_the_supplement_of_the_angle(smeared):
    found = estimate(smeared)
    mirrored = estimate(np.ascontiguousarray(smeared[:, ::-1]))
    assert turn_between(mirrored.angle, 180 - found.angle) <= 1
    assert mirrored.length == pytest.approx(found.length, abs=0.25)


def test_invalid_pixels_do_not_matter(smeared):
    valid = everywhere(smeared)
    valid[:100] = False
    valid[200:, 330:] = False
    garbage = smeared.copy()
    garbage[~valid] = np.random.default_rng(2).integers(0, 256, (int((~valid).sum()), 3))
    found = estimate_blur(smeared, valid)
    assert estimate_blur(garbage, valid) == found
    assert abs(found.length - 11) <= 1


def test_brightness_and_contrast_of_light_do_not_matter(rendered):
    light = smear(decode_srgb(rendered), motion_kernel(9, 120))
    whole, dimmed = encode_srgb(light), encode_srgb(0.4 * light + np.float32(0.1))
    first, second = estimate(whole), estimate(dimmed)
    assert abs(first.length - second.length) <= 0.25
    assert turn_between(first.angle, second.angle) <= 1


@given(grey=st.integers(0, 255), noisy=st.booleans())
def test_a_flat_picture_says_nothing(grey, noisy):
    image = np.full((160, 130, 3), grey, np.uint8)
    if noisy:
        image ^= np.random.default_rng(grey).integers(0, 2, image.shape, dtype=np.uint8)
    found = estimate(image)
    assert (found.length, found.angle, found.confidence) == (0, 0, 0)
    assert math.isnan(found.sharpness) != noisy


@pytest.mark.parametrize("shape", [(127, 500, 3), (40, 40, 3), (1, 1, 3)])
def test_a_picture_without_a_whole_patch_says_nothing(shape):
    found = estimate(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert (found.length, found.angle, found.confidence) == (0, 0, 0)


def test_nothing_valid_says_nothing(smeared):
    found = estimate_blur(smeared, ~everywhere(smeared))
    assert (found.length, found.angle, found.confidence) == (0, 0, 0)
    assert math.isnan(found.sharpness)


def test_one_picture_gives_one_estimate(smeared):
    assert estimate(smeared) == estimate(smeared.copy())


@pytest.mark.parametrize("angle", [0, 45, 77])
def test_sharpness_falls_with_the_length_of_the_motion(rendered, angle):
    scores = [
        measure_sharpness(blurred(rendered, length, angle), everywhere(rendered))
        for length in (0, 2, 4, 7, 11, 15, 21)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < scores[0] / 2


def test_sharpness_of_white_noise_is_one_and_of_a_ramp_one_in_a_thousand():
    noise = np.random.default_rng(5).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    assert measure_sharpness(noise, everywhere(noise)) == pytest.approx(1, abs=0.01)
    ramp = np.repeat(np.add.outer(np.arange(100), np.arange(100))[..., None], 3, axis=2)
    assert measure_sharpness(ramp.astype(np.uint8), everywhere(ramp)) == 1 / 32**2


@given(offset=st.integers(0, 40), scale=st.integers(1, 2))
def test_brightness_and_contrast_do_not_change_sharpness(offset, scale):
    image = np.random.default_rng(offset).integers(0, 100, (64, 48, 3), dtype=np.uint8)
    changed = (image * np.uint8(scale) + np.uint8(offset)).astype(np.uint8)
    assert measure_sharpness(changed, everywhere(image)) == measure_sharpness(
        image, everywhere(image)
    )


def test_a_motion_explains_more_of_its_own_spectrum_than_any_other_does(smeared):
    spectrum = measure_spectrum(np.ascontiguousarray(smeared[:128, :128, 1][None]))
    lengths, angles = np.arange(5.0, 20.0, 2.0), np.arange(0.0, 180.0, 25.0)
    found = compare(spectrum, lengths, angles)
    row, col = found.best
    assert (lengths[row], angles[col]) == (11, 25)
    assert np.all(found.explained <= 1 + 1e-6)


@pytest.mark.parametrize(
    ("length", "level"),
    [
        (0, "sharp"),
        (2.99, "sharp"),
        (3, "3-6"),
        (6, "6-10"),
        (10, "10-15"),
        (15, "15-21"),
        (20.9, "15-21"),
        (21, ">=21"),
    ],
)
def test_levels_are_half_open(length, level):
    assert blur_level(length) == level


@pytest.mark.parametrize("length", [-0.1, math.nan])
def test_a_length_that_is_none_has_no_level(length):
    with pytest.raises(ValueError, match="length must be >= 0"):
        blur_level(length)


def test_a_picture_of_the_wrong_kind_is_named():
    valid = np.ones((200, 200), np.bool_)
    with pytest.raises(ValueError, match=r"uint8 \(h, w, 3\) is wanted, got float64"):
        estimate_blur(np.zeros((200, 200, 3)), valid)
    with pytest.raises(ValueError, match=r"valid must be \(100, 200\)"):
        measure_sharpness(np.zeros((100, 200, 3), np.uint8), valid)
