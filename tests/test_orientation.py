"""Orientation: Pillow's own turning is the witness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from transforms.functional.orientation import (
    is_swapped,
    to_file_rectangle,
    turn_upright,
    upright_size,
)
from transforms.functional.windows import Rectangle

ORIENTATIONS = range(1, 9)


def upright_by_pillow(pixels: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.getexif()[Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_picture_is_turned_as_pillow_turns_it(orientation: int) -> None:
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    wanted = upright_by_pillow(pixels, orientation)
    assert np.array_equal(turn_upright(pixels, orientation), wanted)
    assert upright_size(5, 7, orientation) == wanted.shape
    assert is_swapped(orientation) == (wanted.shape == (7, 5))


@given(st.sampled_from(ORIENTATIONS), st.data())
def test_a_window_read_upright_is_cut_from_the_upright_picture(
    orientation: int, data: st.DataObject
) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    whole = upright_by_pillow(pixels, orientation)
    rows, cols = whole.shape
    left, top = data.draw(st.integers(0, cols - 1)), data.draw(st.integers(0, rows - 1))
    wanted = Rectangle(
        left, top, data.draw(st.integers(1, cols - left)), data.draw(st.integers(1, rows - top))
    )
    place = to_file_rectangle(wanted, orientation, height=rows, width=cols)
    read = pixels[place.within(Rectangle(0, 0, width, height))]
    assert np.array_equal(
        turn_upright(read, orientation), whole[wanted.within(Rectangle(0, 0, cols, rows))]
    )


def test_bands_are_turned_together() -> None:
    pixels = np.arange(24).reshape(2, 3, 4)
    turned = turn_upright(pixels, 8)
    assert turned.shape == (2, 4, 3)
    assert turned.flags.c_contiguous
    assert np.array_equal(turned[1], turn_upright(pixels[1], 8))


@pytest.mark.parametrize("orientation", [0, 9, -1])
def test_other_numbers_are_no_orientations(orientation: int) -> None:
    with pytest.raises(ValueError, match=f"is 1 to 8, got {orientation}"):
        turn_upright(np.zeros((2, 2)), orientation)
