"""Motion and noise are functions of the pixels of a scene, to the last bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured
from scipy.ndimage import convolve as scipy_convolve

from transforms.functional.blur import motion_kernel
from transforms.functional.camera import decode_srgb
from transforms.functional.sensor import add_noise, erode_valid, noise_field, smear
from transforms.functional.windows import Rectangle

LIGHT = decode_srgb(textured(160, 200, seed=1))
rectangles = st.builds(
    Rectangle,
    col_off=st.integers(0, 600),
    row_off=st.integers(0, 600),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
)


@settings(max_examples=20, deadline=None)
@given(rectangles, st.integers(0, 2**32))
def test_noise_belongs_to_the_scene_pixel(rectangle: Rectangle, seed: int) -> None:
    wide = rectangle.grow(37, height=1000, width=1000)
    inside = noise_field(wide, seed=seed)[rectangle.within(wide)]
    assert np.array_equal(inside, noise_field(rectangle, seed=seed))


def test_noise_is_standard_normal_and_its_blocks_and_seeds_differ() -> None:
    field = noise_field(Rectangle(0, 0, 512, 512), seed=3)
    assert field.shape == (512, 512, 3)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.005
    assert abs(field.std() - 1) < 0.005
    blocks = [field[:256, :256], field[:256, 256:], field[256:, :256]]
    blocks.append(noise_field(Rectangle(0, 0, 256, 256), seed=4))
    for i, one in enumerate(blocks):
        for other in blocks[i + 1 :]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_noise_grows_with_the_square_root_of_the_light() -> None:
    field = noise_field(Rectangle(0, 0, 256, 256), seed=0)
    for light in (0.0, 0.25, 1.0):
        flat = np.full(field.shape, light, np.float32)
        noisy = add_noise(flat, field, read_noise=0.03, shot_noise=0.04)
        assert abs((noisy - flat).std() - np.hypot(0.03, 0.04 * np.sqrt(light))) < 3e-4


def test_no_noise_changes_nothing() -> None:
    field = noise_field(Rectangle(0, 0, 200, 160), seed=0)
    assert np.array_equal(add_noise(LIGHT, field, read_noise=0, shot_noise=0), LIGHT)


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 40), st.floats(0, 359), st.integers(0, 60), st.integers(0, 60))
def test_smear_is_a_function_of_the_pixels_under_the_kernel(
    length: float, angle: float, row: int, col: int
) -> None:
    kernel = motion_kernel(length, angle)
    reach = len(kernel) // 2
    inner = Rectangle(col, row, 33, 21)
    part = inner.grow(reach, height=160, width=200)
    whole = smear(LIGHT, kernel)[inner.within(Rectangle(0, 0, 200, 160))]
    rows, cols = part.within(Rectangle(0, 0, 200, 160))
    cut = smear(np.ascontiguousarray(LIGHT[rows, cols]), kernel)[inner.within(part)]
    assert np.array_equal(whole, cut)


def test_smear_is_a_convolution_with_a_mirrored_border() -> None:
    kernel = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    kernel /= kernel.sum()
    wanted = scipy_convolve(LIGHT.astype(np.float64), kernel[..., None], mode="mirror")
    assert np.abs(smear(LIGHT, kernel) - wanted).max() < 3e-5


def test_smear_keeps_flat_light_to_a_step() -> None:
    flat = np.full((40, 40, 3), 0.3, np.float32)
    assert np.abs(smear(flat, motion_kernel(15, 30)) - 0.3).max() < 1e-5


def test_a_pixel_is_valid_only_if_all_its_light_was() -> None:
    valid = np.ones((41, 41), np.bool_)
    valid[20, 20] = False
    kernel = motion_kernel(9, 0)
    eroded = erode_valid(valid, kernel)
    light = np.repeat(valid[..., None], 3, axis=2).astype(np.float32)
    assert np.array_equal(eroded, smear(light, kernel)[..., 0] > 1 - 1e-6)
    assert eroded[19].all()


def test_an_asymmetric_kernel_erodes_the_side_it_takes_light_from() -> None:
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1] = kernel[1, 2] = 0.5
    valid = np.ones((5, 9), np.bool_)
    valid[:, 4] = False
    light = np.repeat(valid[..., None], 3, axis=2).astype(np.float32)
    assert np.array_equal(erode_valid(valid, kernel), smear(light, kernel)[..., 0] > 0.99)
