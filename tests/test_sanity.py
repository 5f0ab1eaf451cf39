"""Restored pictures are believed, broken ones are not."""

from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import DATA, textured

from models.deblurrer import Deblurrer
from models.shipped import resolve_weights
from transforms.functional.blur import blur_tile
from transforms.functional.sanity import NO_SYMPTOMS, Symptoms, find_symptoms

LIMITS = {"saturated": 0.25, "flat": 5.0, "energy": 1.0}
SHARP = textured(256, 224, 4)
BLURRED = blur_tile(SHARP, length=11, angle=30)


def everywhere(image):
    return np.ones(image.shape[:2], bool)


def reason(before, after):
    return find_symptoms(before, after, everywhere(before)).reason(**LIMITS)


def noisy(image):
    noise = np.random.default_rng(0).normal(0, 40, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def mean_colour(image):
    return np.broadcast_to(image.mean(axis=(0, 1)).round().astype(np.uint8), image.shape)


def chequered(image):
    rows, cols = np.indices(image.shape[:2]) // 64
    squares = np.where((rows + cols) % 2, 40, -40)[..., None]
    return np.clip(image.astype(int) + squares, 0, 255).astype(np.uint8)


BROKEN = {
    "noisy": noisy,
    "mean_colour": mean_colour,
    "inverted": lambda image: 255 - image,
    "chequered": chequered,
    "black": np.zeros_like,
    "white": lambda image: np.full_like(image, 255),
    "grey": lambda image: np.full_like(image, 128),
    "noise alone": lambda image: np.random.default_rng(0).integers(0, 256, image.shape, np.uint8),
}


@pytest.mark.parametrize("picture", [SHARP, BLURRED], ids=["sharp", "blurred"])
@pytest.mark.parametrize("broken", BROKEN)
def test_broken_outputs_are_not_believed(picture, broken):
    assert reason(picture, BROKEN[broken](picture))


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("black", "saturation"),
        ("inverted", "energy"),
        ("chequered", "flat"),
    ],
)
def test_the_reason_tells_what_is_wrong(broken, expected):
    contrasty = SHARP.copy()
    contrasty[:128] //= 4
    assert reason(contrasty, BROKEN[broken](contrasty)) == expected


def test_an_output_without_the_detail_of_its_input_is_not_believed():
    assert reason(BLURRED, mean_colour(BLURRED)) == "detail"


def test_a_perfect_restoration_is_believed():
    soft = cv2.GaussianBlur(SHARP, (0, 0), 3)  # no noise, which nothing could restore
    blurred = blur_tile(soft, length=11, angle=30, noise=0)
    assert reason(blurred, soft) == ""
    assert find_symptoms(blurred, soft, everywhere(soft)).detail > 1


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 2**32 - 1), st.floats(0, 1.1))
@settings(deadline=None)
def test_what_was_left_alone_shows_no_symptoms(height, width, seed, share):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = find_symptoms(image, image.copy(), rng.random((height, width)) < share)
    assert (found.saturated, found.energy) == (0, 0)
    assert found.flat <= 0
    assert found.detail == pytest.approx(1)
    assert found.reason(**LIMITS) == ""


def test_pixels_without_data_are_not_looked_at():
    valid = everywhere(SHARP)
    valid[:100] = valid[:, 200:] = False
    filled = np.where(valid[..., None], BLURRED, 255).astype(np.uint8)
    found = find_symptoms(SHARP, filled, valid)
    assert found == find_symptoms(SHARP, BLURRED, valid)
    assert found.energy > 0


def test_a_picture_without_valid_pixels_shows_no_symptoms():
    assert find_symptoms(SHARP, 255 - SHARP, np.zeros(SHARP.shape[:2], bool)) == NO_SYMPTOMS


def test_the_numbers_are_those_of_their_definitions():
    before, after = SHARP.astype(float), BLURRED.astype(float)
    found = find_symptoms(SHARP, BLURRED, everywhere(SHARP))
    spread = np.sqrt(before.reshape(-1, 3).var(axis=0).mean())
    energy = np.sqrt(((after - before) ** 2).mean()) / (spread + 8)
    assert found.energy == pytest.approx(energy, rel=1e-4)
    blocks = [
        np.s_[row : row + 32, col : col + 32] for row, col in product(*[range(0, 224, 32)] * 2)
    ]
    square = find_symptoms(SHARP[:224], BLURRED[:224], everywhere(SHARP)[:224])
    covariances, variances = 0.0, 0.0
    for at in blocks:
        old, new = (image[at] - image[at].mean(axis=(0, 1)) for image in (before, after))
        covariances, variances = covariances + (old * new).sum(), variances + (old**2).sum()
    assert square.detail == pytest.approx(covariances / variances, rel=1e-3)


@pytest.mark.parametrize(
    ("symptoms", "expected"),
    [
        (Symptoms(0.3, 9, 2, 0.1), "saturation"),
        (Symptoms(0.2, 9, 2, 0.1), "energy"),
        (Symptoms(0.2, 9, 0.5, 0.1), "flat"),
        (Symptoms(0.2, 4, 0.5, 0.1), "detail"),
        (Symptoms(0.2, 4, 0.5, 0.6), ""),
    ],
)
def test_the_first_symptom_beyond_its_limit_is_the_reason(symptoms, expected):
    assert symptoms.reason(**LIMITS) == expected


def real_crops():
    """Return the middles of some real pictures, uint8 (512, 512, 3)."""
    names = ("vehicles_munich", "vehicles_minsk", "sharp_texture", "street", "real_soft")
    for name in names:
        files = sorted(f for f in (DATA / name).rglob("*") if f.suffix.lower() in (".jpg", ".png"))
        for path in files[:: max(1, len(files) // 3)][:3]:
            image = cv2.imread(str(path))[..., ::-1]
            row, col = (max(0, side // 2 - 256) for side in image.shape[:2])
            yield np.ascontiguousarray(image[row : row + 512, col : col + 512])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs the real pictures")
@pytest.mark.parametrize("weights", ["deblur_dsc", "deblur_mobilenet"])
def test_the_shipped_networks_are_believed_on_real_pictures_and_broken_ones_are_not(weights):
    deblurrer = Deblurrer.load(resolve_weights(weights))
    for sharp in real_crops():
        for length in (0, 9, 21):
            before = blur_tile(sharp, length=length, angle=50) if length else sharp
            assert reason(before, deblurrer(before[None])[0]) == ""
            assert all(reason(before, make(before)) for make in BROKEN.values())
