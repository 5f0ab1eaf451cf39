"""The way to 8-bit RGB, and padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transforms.functional.pixels import (
    bands_to_rgb,
    crop_to,
    first_equals,
    pad_to,
    stretch_bands,
    stretch_to_uint8,
)


def test_stretch_rounds_clips_and_casts() -> None:
    array = np.array([-5.0, 0.0, 1.0, 2.0, 4.0, 9.0, np.nan, np.inf, -np.inf])
    assert stretch_to_uint8(array, 0, 4).tolist() == [0, 0, 64, 128, 255, 255, 0, 255, 0]


def test_stretch_of_the_whole_8_bit_range_changes_nothing() -> None:
    array = np.arange(256, dtype=np.uint8)
    assert np.array_equal(stretch_to_uint8(array, 0, 255), array)


def test_stretch_does_not_wrap_integers() -> None:
    array = np.array([0, 100, 65535], np.uint16)
    assert stretch_to_uint8(array, 100, 200).tolist() == [0, 0, 255]


@given(hnp.arrays(np.int16, 20), st.integers(-1000, 1000), st.integers(1, 5000))
def test_stretch_keeps_order(array: np.ndarray, low: int, span: int) -> None:
    ordered = np.sort(array)
    assert (np.diff(stretch_to_uint8(ordered, low, low + span).astype(int)) >= 0).all()


def test_stretch_without_range_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"low < high, got low=3, high=3"):
        stretch_to_uint8(np.zeros(2), 3, 3)


def test_every_band_has_a_stretch_of_its_own() -> None:
    bands = np.full((3, 2, 2), 100, np.uint16)
    mapped = stretch_bands(bands, [(0, 400), (100, 200), (0, 100)])
    assert mapped[:, 0, 0].tolist() == [64, 0, 255]
    with pytest.raises(ValueError, match="for each band is wanted: 3, got 1"):
        stretch_bands(bands, [(0, 1)])


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    rgb = bands_to_rgb(grey)
    assert rgb.shape == (2, 3, 3)
    assert all(np.array_equal(rgb[..., channel], grey[0]) for channel in range(3))


def test_bands_become_channels_in_order() -> None:
    bands = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    rgb = bands_to_rgb(bands)
    assert np.array_equal(rgb[..., 2], bands[2])
    assert rgb.flags.c_contiguous


def test_two_bands_are_no_picture() -> None:
    with pytest.raises(ValueError, match=r"one or three bands .* got shape \(2, 4, 4\)"):
        bands_to_rgb(np.zeros((2, 4, 4), np.uint8))


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_cropping_undoes_padding(image: np.ndarray, height: int, width: int) -> None:
    padded = pad_to(image, height, width)
    assert padded.shape == (max(height, image.shape[0]), max(width, image.shape[1]), 3)
    assert np.array_equal(crop_to(padded, *image.shape[:2]), image)


def test_padding_mirrors_and_repeats_beyond_the_image() -> None:
    row = np.array([1, 2], np.uint8)
    image = np.repeat(row[None, :, None], 3, axis=2)
    assert pad_to(image, 2, 7)[1, :, 0].tolist() == [1, 2, 2, 1, 1, 2, 2]


def test_an_image_without_pixels_cannot_be_padded() -> None:
    with pytest.raises(ValueError, match="without pixels"):
        pad_to(np.zeros((0, 4, 3), np.uint8), 8, 8)


def test_cropping_beyond_the_image_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"cannot crop \(4, 4\) to \(8, 4\)"):
        crop_to(np.zeros((4, 4, 3), np.uint8), 8, 4)


def test_pictures_stand_for_those_with_their_pixels() -> None:
    zero, one = np.zeros((20, 5, 3), np.uint8), np.ones((20, 5, 3), np.uint8)
    late, low = zero.copy(), zero[:10]
    late[-1, -1, 2] = 1
    assert first_equals([zero, one, zero.copy(), late, one, low, late.copy()]) == [
        *(0, 1, 0, 3, 1, 5, 3)
    ]
    assert first_equals([]) == []
