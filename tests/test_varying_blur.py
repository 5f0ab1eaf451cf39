"""Blur that varies over the picture: its laws, and that it changes no training without it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured

from configs.train_deblurrer import BlurSampling
from transforms.functional.blur import convolve, motion_kernel, motion_path, path_kernel, shake_path
from transforms.functional.blur_sampler import BlurModel, degrade, sample_degradation
from transforms.functional.camera import decode_srgb
from transforms.functional.varying_blur import CameraMotion, convolve_varying, grid_kernels

seeds = st.integers(0, 1000)
sides = st.integers(1, 90)


def model(**changes) -> BlurModel:
    return replace(BlurModel(**BlurSampling().model_dump()), **changes)


def motion(*, turn: float = 0.0, length: float = 7.0, angle: float = 30.0) -> CameraMotion:
    path = motion_path(length, angle)
    return CameraMotion(path, np.linspace(-turn / 2, turn / 2, len(path)))


def light(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


@given(sides, sides, st.floats(0, 15), st.floats(0, 180), st.integers(5, 60))
@settings(max_examples=25, deadline=None)
def test_a_camera_that_does_not_turn_smears_alike_everywhere(height, width, length, angle, spacing):
    still = motion(length=length, angle=angle)
    kernels = grid_kernels(still, height=height, width=width, spacing=spacing)
    scene = light(height, width)
    wanted = convolve(scene, motion_kernel(length, angle))
    np.testing.assert_allclose(convolve_varying(scene, kernels), wanted, atol=2e-5)


@given(sides, sides, st.floats(-0.3, 0.3), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_flat_picture_stays_flat(height, width, turn, level):
    kernels = grid_kernels(motion(turn=turn), height=height, width=width, spacing=16)
    flat = np.full((height, width, 3), level, np.float32)
    np.testing.assert_allclose(convolve_varying(flat, kernels), flat, atol=1e-5)


def test_turning_keeps_the_mean_brightness():
    scene = decode_srgb(textured(160, 160, seed=1))
    kernels = grid_kernels(motion(turn=0.08), height=160, width=160, spacing=32)
    assert convolve_varying(scene, kernels).mean() == pytest.approx(scene.mean(), rel=0.01)


def test_a_turn_smears_more_the_farther_from_the_pivot():
    turning = CameraMotion(np.zeros((201, 2)), np.linspace(-0.05, 0.05, 201), pivot=(0.0, 0.5))
    kernels = grid_kernels(turning, height=129, width=129, spacing=64)
    widths = [kernel.shape[0] for kernel in kernels[1]]
    assert widths == [1, 9, 15]
    # At the right of the pivot a turn moves things up and down.
    np.testing.assert_allclose(kernels[1][1].sum(axis=1)[2:-2], 1 / 6.4, atol=0.005)


def test_a_turn_is_counter_clockwise_on_the_screen():
    quarter = CameraMotion(np.zeros((1, 2)), np.array([np.pi / 2]))
    np.testing.assert_allclose(quarter.path_at(10.0, 0.0), [[-10.0, -10.0]])


def test_far_from_the_pivot_the_blur_is_that_of_the_kernel_there():
    scene = light(97, 97)
    kernels = grid_kernels(motion(turn=0.1), height=97, width=97, spacing=32)
    found = convolve_varying(scene, kernels)
    for row, column in ((0, 0), (1, 2), (3, 1), (3, 3)):
        wanted = convolve(scene, kernels[row][column])
        np.testing.assert_allclose(
            found[32 * row, 32 * column], wanted[32 * row, 32 * column], atol=2e-5
        )


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_kernels_of_a_shake_stay_within_reach_and_change_smoothly(seed):
    path = shake_path(np.random.default_rng(seed), extent=16)
    turning = CameraMotion(path, np.linspace(-0.05, 0.05, len(path)))
    kernels = grid_kernels(turning, height=128, width=128, spacing=32, reach=6)
    assert max(kernel.shape[0] for row in kernels for kernel in row) <= 13
    step = turning.path_at(10.0, 0.0) - turning.path_at(8.0, 0.0)
    assert np.abs(step).max() <= 2 * 0.05 + 1e-9


def test_a_grid_needs_a_spacing():
    with pytest.raises(ValueError, match="spacing must be >= 1 px, got spacing=0"):
        grid_kernels(motion(), height=9, width=9, spacing=0)


def test_without_varying_blur_the_drawn_stream_is_what_it_was_before_there_was_any():
    """Trainings of earlier versions must be repeatable: digest made with the code before."""
    rng = np.random.default_rng(11)
    image = textured(48, 48, seed=2)
    digest = hashlib.sha256()
    for _ in range(40):
        drawn = sample_degradation(model(), rng)
        shape = () if drawn.kernel is None else drawn.kernel.shape
        digest.update(repr((shape, round(drawn.noise, 12), drawn.jpeg_quality)).encode())
        degrade(image, drawn, rng)
    digest.update(repr(rng.integers(2**62)).encode())
    assert digest.hexdigest() == "f4b1e6e5abf1d031ab636c3c1ea65eb531ce4e6e5dfdc6fc81d67f6f3269372e"


def test_turns_are_drawn_in_their_share_and_change_nothing_else():
    plain = [sample_degradation(model(), np.random.default_rng(seed)) for seed in range(300)]
    turning = [
        sample_degradation(model(varying_share=0.5), np.random.default_rng(seed))
        for seed in range(300)
    ]
    blurred = [drawn for drawn in turning if drawn.kernel is not None]
    share = sum(drawn.turn is not None for drawn in blurred) / len(blurred)
    assert share == pytest.approx(0.5, abs=0.1)
    for one, other in zip(plain, turning, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)
        assert (one.noise, one.jpeg_quality) == (other.noise, other.jpeg_quality)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_a_drawn_turn_stays_within_the_reach_that_a_patch_allows_for(seed):
    blur = model(varying_share=1.0, sharp_share=0.0, noise=(0.0, 0.0), jpeg_share=0.0)
    drawn = sample_degradation(blur, np.random.default_rng(seed))
    kernels = grid_kernels(
        drawn.turn.motion(96, 128), height=96, width=128, spacing=32, reach=drawn.turn.reach
    )
    defocus = 0 if drawn.defocus is None else drawn.defocus.shape[0] // 2
    widest = max(kernel.shape[0] // 2 for row in kernels for kernel in row)
    assert widest + defocus <= blur.reach


def test_a_turning_camera_blurs_differently_from_a_still_one():
    rng = np.random.default_rng(3)
    blur = model(varying_share=1.0, sharp_share=0.0, length=(12.0, 12.0))
    drawn = sample_degradation(blur, rng)
    image = textured(96, 128, seed=4)
    turning = degrade(image, drawn, np.random.default_rng(0))
    still = degrade(image, replace(drawn, turn=None), np.random.default_rng(0))
    assert turning.shape == image.shape
    assert turning.dtype == np.uint8
    assert (turning != still).mean() > 0.1
    assert path_kernel(drawn.turn.path).sum() == pytest.approx(1, abs=1e-5)
