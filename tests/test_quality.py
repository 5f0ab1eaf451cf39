"""PSNR and SSIM agree with scikit-image, and tiles add up to the scene."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from transforms.functional.quality import Mean, Quality, measure_quality
from transforms.functional.windows import Rectangle, plan_cores

EVERYTHING = (slice(None), slice(None))


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    sharp = textured(height, width, seed)
    noise = np.random.default_rng(seed + 1).normal(0, 12, sharp.shape)
    return np.clip(np.rint(sharp + noise), 0, 255).astype(np.uint8), sharp


def whole(image: np.ndarray, sharp: np.ndarray) -> Quality:
    return measure_quality(image, sharp, np.ones(sharp.shape[:2], bool), EVERYTHING)


def test_psnr_is_that_of_scikit_image():
    image, sharp = pair(70, 90)
    witness = peak_signal_noise_ratio(sharp, image, data_range=255)
    assert whole(image, sharp).psnr == pytest.approx(witness, abs=1e-9)


def test_ssim_is_that_of_scikit_image():
    image, sharp = pair(70, 90)
    witness = structural_similarity(
        sharp,
        image,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert whole(image, sharp).ssim.value == pytest.approx(witness, abs=1e-6)


@settings(max_examples=15)
@given(core=st.integers(20, 90), halo=st.integers(5, 20), seed=st.integers(0, 3))
def test_tiles_add_up_to_the_scene(core, halo, seed):
    height, width = 83, 101
    image, sharp = pair(height, width, seed)
    total = Quality()
    for owned in plan_cores(height=height, width=width, core=core):
        read = owned.grow(halo, height=height, width=width)
        at = read.within(Rectangle(0, 0, width, height))
        valid = np.ones((read.height, read.width), bool)
        total += measure_quality(image[at], sharp[at], valid, owned.within(read))
    scene = whole(image, sharp)
    assert total.squared_error == scene.squared_error
    assert total.ssim.count == scene.ssim.count
    assert total.ssim.value == pytest.approx(scene.ssim.value, abs=1e-9)


def test_pixels_without_data_do_not_count():
    image, sharp = pair(60, 60)
    valid = np.ones((60, 60), bool)
    valid[:, 30:] = False
    spoilt = image.copy()
    spoilt[:, 30:] = 0
    measured = measure_quality(spoilt, sharp, valid, EVERYTHING)
    assert measured.squared_error == whole(image[:, :30], sharp[:, :30]).squared_error
    assert measured.ssim.count == 50 * 20


def test_identical_pictures_have_infinite_psnr_and_ssim_1():
    _, sharp = pair(40, 40)
    quality = whole(sharp, sharp)
    assert quality.psnr == math.inf
    assert quality.ssim.value == 1


def test_nothing_has_neither():
    assert math.isnan(Quality().psnr)
    assert math.isnan(Quality().ssim.value)


@given(st.lists(st.floats(0, 1e6), max_size=12), st.randoms())
def test_sums_do_not_depend_on_the_order(values, random):
    means = [Mean.of(value, 1) for value in values]
    shuffled = means.copy()
    random.shuffle(shuffled)
    assert sum(means, Mean()) == sum(shuffled, Mean())
