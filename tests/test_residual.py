"""Residuals in native pixels: what the network left alone is left alone, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import textured

from transforms.functional.pixels import bands_to_rgb, stretch_to_uint8
from transforms.functional.residual import add_residual, per_band

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
seeds = st.integers(0, 2**32 - 1)


def bits(array):
    return array.tobytes()


def random_native(dtype, seed, shape=(3, 9, 11)):
    """Return pixels of all of the dtype's range, with NaN and infinities where it has them."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind != "f":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    native = rng.normal(0, 1000, shape).astype(dtype)
    native[rng.random(shape) < 0.1] = np.nan
    native[rng.random(shape) < 0.05] = np.inf
    native[rng.random(shape) < 0.05] = -0.0
    return native


def random_pictures(seed, shape=(9, 11, 3)):
    return np.random.default_rng(seed).integers(0, 256, (2, *shape), dtype=np.uint8)


ends = st.tuples(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5)).map(lambda e: (e[0], e[0] + e[1]))
stretches = st.tuples(ends, ends, ends)
nodatas = st.sampled_from([None, 0.0, 255.0, -9999.0, float("nan"), 1e300])


@given(st.sampled_from(DTYPES), seeds, stretches, nodatas)
def test_what_the_network_left_alone_is_identical(dtype, seed, stretch, nodata):
    native, (before, _) = random_native(dtype, seed), random_pictures(seed)
    valid = np.ones(before.shape[:2], bool)
    same = add_residual(native, before, before.copy(), stretch=stretch, valid=valid, nodata=nodata)
    assert same.dtype == native.dtype
    assert bits(same) == bits(native)


@given(st.sampled_from(DTYPES), seeds, stretches, nodatas)
def test_what_is_invalid_or_was_clipped_stays_bit_for_bit(dtype, seed, stretch, nodata):
    native, (before, after) = random_native(dtype, seed), random_pictures(seed)
    valid = np.random.default_rng(seed).random(before.shape[:2]) < 0.7
    result = add_residual(native, before, after, stretch=stretch, valid=valid, nodata=nodata)
    for band, new, (low, high) in zip(native, result, stretch, strict=True):
        stays = ~valid | ~((band >= low) & (band <= high))
        assert bits(new[stays]) == bits(band[stays])
        assert not np.isnan(new[~stays]).any()


@given(seeds)
def test_pixels_that_are_8_bit_become_what_the_network_made(seed):
    before, after = random_pictures(seed)
    valid = np.ones(before.shape[:2], bool)
    native = np.ascontiguousarray(before.transpose(2, 0, 1))
    result = add_residual(native, before, after, stretch=None, valid=valid, nodata=None)
    np.testing.assert_array_equal(result, after.transpose(2, 0, 1))


@given(seeds, st.integers(0, 4000), st.integers(300, 60_000), st.sampled_from([1, 3]))
def test_16_bit_pixels_move_by_the_residual_through_the_stretch(seed, low, span, bands):
    stretch = [(float(low), float(low + span))] * bands
    rng = np.random.default_rng(seed)
    native = rng.integers(low, low + span, (bands, 9, 11)).astype(np.uint16)
    before = bands_to_rgb(stretch_to_uint8(native, *stretch[0]))
    after = before if bands == 3 else before[..., :1]
    after = np.clip(after.astype(int) + rng.integers(-40, 40, after.shape), 0, 255)
    after = np.ascontiguousarray(np.broadcast_to(after, before.shape)).astype(np.uint8)
    valid = np.ones(before.shape[:2], bool)
    result = add_residual(native, before, after, stretch=stretch, valid=valid, nodata=None)
    shown = bands_to_rgb(stretch_to_uint8(result, *stretch[0]))
    assert np.abs(shown.astype(int) - after).max() <= 1
    fine = result.astype(float) - native
    exact = (after.astype(float) - before).transpose(2, 0, 1)[:bands] * span / 255
    inside = (native + exact > low) & (native + exact < low + span)
    assert np.abs(fine - exact)[inside].max(initial=0) <= 0.5


def test_one_band_takes_the_mean_of_the_channels():
    before = np.full((1, 1, 3), 100, np.uint8)
    after = np.array([[[104, 107, 110]]], np.uint8)
    native = np.full((1, 1, 1), 100, np.uint8)
    valid = np.ones((1, 1), bool)
    result = add_residual(native, before, after, stretch=None, valid=valid, nodata=None)
    assert result.tolist() == [[[107]]]


@pytest.mark.parametrize(
    ("bands", "expected"),
    [((4, 2, 1), [1, 2, 6]), ((1,), [3]), ((1, 1, 1), [3]), ((1, 2, 1), [3.5, 2])],
)
def test_a_band_shown_twice_takes_the_mean_of_its_channels(bands, expected):
    image = np.array([[[1, 2, 6]]], np.uint8)
    assert per_band(image, bands).tolist() == [[expected]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("nodata", [0.0, 7.0, 100.0, 255.0])
def test_results_grow_with_the_output_and_never_become_nodata(dtype, nodata):
    levels = np.arange(256, dtype=np.uint8)
    after = np.repeat(levels[None, :, None], 3, axis=2)
    valid = np.ones((1, 256), bool)
    for was in (1, 6, 8, 99, 101, 254):
        before = np.full_like(after, was)
        native = np.full((3, 1, 256), was, dtype)
        result = add_residual(
            native, before, after, stretch=[(0.0, 255.0)] * 3, valid=valid, nodata=nodata
        )
        assert (np.diff(result.astype(float)) >= 0).all()
        assert (result != nodata).all()
        assert np.abs(result.astype(float) - levels).max() <= 1


def test_a_float_beside_nodata_is_no_nodata_for_a_reader(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    from scenes import write_scene

    nodata, native = -9999.0, np.full((1, 1, 1), -9990, np.float32)
    before, after = np.full((1, 1, 3), 9, np.uint8), np.zeros((1, 1, 3), np.uint8)
    valid = np.ones((1, 1), bool)
    result = add_residual(
        native, before, after, stretch=[(-9999.0, -9744.0)], valid=valid, nodata=nodata
    )
    assert abs(float(result[0, 0, 0]) - nodata) < 0.1
    path = write_scene(tmp_path / "a.tif", result, nodata=nodata, tiled=False)
    with rasterio.open(path) as dataset:
        assert dataset.read_masks(1).all()


def test_a_valid_pixel_whose_band_is_nodata_may_stay_it():
    native = np.zeros((3, 1, 1), np.uint8)
    before = np.zeros((1, 1, 3), np.uint8)
    valid = np.ones((1, 1), bool)
    result = add_residual(native, before, before + 1, stretch=None, valid=valid, nodata=0.0)
    assert result.ravel().tolist() == [1, 1, 1]
    same = add_residual(native, before, before, stretch=None, valid=valid, nodata=0.0)
    assert same.ravel().tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("native", "stretch", "message"),
    [
        (np.zeros((3, 8, 8), np.uint16), None, "without a stretch: set read.stretch"),
        (np.zeros((3, 8, 8), np.complex64), None, "must be integer or floating"),
        (np.zeros((3, 8, 8), np.uint16), [(0, 1)], "got 1 for 3 bands"),
        (np.zeros((2, 8, 8), np.uint8), None, "got 3 channels for 2 bands"),
        (np.zeros((3, 8, 9), np.uint8), None, "must be of one size"),
    ],
)
def test_what_does_not_fit_is_refused(native, stretch, message):
    picture, valid = textured(8, 8, 0), np.ones((8, 8), bool)
    with pytest.raises(ValueError, match=message):
        add_residual(native, picture, picture, stretch=stretch, valid=valid, nodata=None)
