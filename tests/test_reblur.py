"""Objects that blurring again does not bring back are called inconsistent, and only they."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured

from transforms.functional.blur import blur_tile, motion_kernel
from transforms.functional.camera import decode_srgb
from transforms.functional.reblur import (
    CONSISTENT_FROM,
    INCONSISTENT_BELOW,
    LEAST_SIGNAL,
    ReblurCheck,
    check_reblur,
    estimate_background,
    judge_reblur,
)

BOX = np.float32([[60, 50, 84, 62]])
KERNEL = motion_kernel(11, 30)


def ground(seed: int = 0):
    """Soft ground without objects, uint8 (120, 150, 3)."""
    grain = np.random.default_rng(seed).normal(110, 40, (120, 150, 3))
    return np.clip(cv2.GaussianBlur(grain, (0, 0), 5), 0, 255).astype(np.uint8)


def with_car(image, box=BOX[0], *, colour=(220, 210, 200)):
    """The picture with a plain car in a box."""
    x0, y0, x1, y1 = box.astype(int)
    painted = image.copy()
    painted[y0:y1, x0:x1] = colour
    painted[y0 + 3 : y1 - 3, x0 + 5 : x0 + 9] = 40
    return painted


def blurred(image, *, length=11.0, angle=30.0):
    return blur_tile(image, length=length, angle=angle, noise=0.002, seed=3)


def test_an_object_that_is_in_both_pictures_is_consistent():
    sharp = with_car(ground())
    check = check_reblur(blurred(sharp), sharp, BOX, KERNEL)
    assert check.evidence[0] == pytest.approx(1, abs=0.02)
    assert judge_reblur(check) == ("consistent",)


def test_an_object_that_is_only_in_after_is_inconsistent():
    check = check_reblur(blurred(ground()), with_car(ground()), BOX, KERNEL)
    assert check.evidence[0] == pytest.approx(0, abs=0.15)
    assert check.residual[0] > 10
    assert judge_reblur(check) == ("inconsistent",)


def test_an_object_too_faint_for_the_noise_is_undecided():
    faint = ground()
    faint[50:62, 60:84] += 2
    check = check_reblur(blurred(ground()), faint, BOX, KERNEL)
    assert 0 < check.signal[0] < LEAST_SIGNAL
    assert judge_reblur(check) == ("undecided",)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_evidence_is_the_share_of_the_light_that_is_real(share):
    """Witness: the light of `before` is mixed here, and the flat ground needs no estimate."""
    flat = np.full((120, 150, 3), 90, np.uint8)
    whole, nothing = decode_srgb(with_car(flat)), decode_srgb(flat)
    mixed = share * whole + (1 - share) * nothing
    encoded = 1.055 * mixed ** (1 / 2.4) - 0.055
    weak = np.rint(255 * encoded).astype(np.uint8)
    check = check_reblur(weak, with_car(flat), BOX, motion_kernel(0, 0))
    assert check.evidence[0] == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("off", "turn"), [(2, 10), (2, -10), (-2, 10), (-2, -10)])
@pytest.mark.parametrize("length", [7, 11, 15, 21])
def test_verdicts_survive_an_error_of_the_kernel(length, off, turn):
    kernel = motion_kernel(length + off, 30 + turn)
    sharp = with_car(ground())
    real = check_reblur(blurred(sharp, length=length), sharp, BOX, kernel)
    fake = check_reblur(blurred(ground(), length=length), sharp, BOX, kernel)
    assert judge_reblur(real) == ("consistent",)
    assert judge_reblur(fake) == ("inconsistent",)


def test_without_blur_the_pictures_are_compared_as_they_are():
    none = motion_kernel(0, 0)
    same = check_reblur(with_car(ground()), with_car(ground()), BOX, none)
    assert same.evidence[0] == 1
    assert same.residual[0] == 0
    assert judge_reblur(check_reblur(ground(), with_car(ground()), BOX, none)) == ("inconsistent",)


def test_an_object_does_not_see_the_boxes_of_others():
    sharp = with_car(with_car(ground()), np.float32([90, 50, 114, 62]))
    boxes = np.float32([[60, 50, 84, 62], [90, 50, 114, 62], [20, 90, 40, 110]])
    before = blurred(with_car(ground()))
    together = check_reblur(before, sharp, boxes, KERNEL)
    for index in range(3):
        alone = check_reblur(before, sharp, boxes[index : index + 1], KERNEL)
        assert alone.evidence[0] == together.evidence[index]
        assert alone.signal[0] == together.signal[index]
    assert judge_reblur(together)[:2] == ("consistent", "inconsistent")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 25), st.integers(0, 25))
def test_moving_the_pictures_changes_nothing(down, right):
    before, after = blurred(textured(150, 180, seed=2)), textured(150, 180, seed=2)
    after = with_car(after, BOX[0] + 20)
    still = check_reblur(before[:120, :150], after[:120, :150], BOX + 20, KERNEL)
    part = (slice(down, down + 120), slice(right, right + 150))
    moved_box = BOX + 20 - np.float32([right, down, right, down])
    moved = check_reblur(before[part], after[part], moved_box, KERNEL)
    assert moved.evidence[0] == pytest.approx(still.evidence[0], abs=1e-4)
    # The usual misfit is that of the tile, which has changed a little.
    assert moved.signal[0] == pytest.approx(still.signal[0], rel=0.2)


@pytest.mark.parametrize("corner", [(0, 0), (126, 0), (0, 108), (126, 108), (-9, -5)])
def test_light_from_beyond_the_border_is_not_missed(corner):
    """`before` was blurred in a wider picture; the mirrored border of `after` knows none of it."""
    wide = np.pad(ground(), ((20, 20), (20, 20), (0, 0)), mode="wrap")
    wide[:22], wide[:, :22], wide[138:], wide[:, 168:] = 250, 5, 5, 250
    x, y = corner
    box = np.float32([x, y, x + 24, y + 12])
    wide = with_car(wide, box + 20)
    inner = (slice(20, 140), slice(20, 170))
    check = check_reblur(blurred(wide)[inner], wide[inner], box[None], KERNEL)
    assert judge_reblur(check)[0] != "inconsistent"


def test_a_box_that_leaves_no_background_is_undecided():
    sharp = with_car(ground())
    boxes = np.float32([[0, 0, 150, 120], [-5, -5, 200, 200], [170, 40, 190, 60], [9, 9, 3, 3]])
    check = check_reblur(blurred(sharp), sharp, boxes, KERNEL)
    assert np.isnan(check.evidence[:3]).all()
    assert judge_reblur(check)[:3] == ("undecided",) * 3


def test_a_tile_smaller_than_the_blur_is_undecided():
    small = with_car(ground())[48:64, 58:86]
    box = np.float32([[2, 2, 26, 14]])
    check = check_reblur(small, small, box, motion_kernel(41, 45))
    assert judge_reblur(check) == ("undecided",)


def test_a_box_smaller_than_the_blur_is_judged():
    box = np.float32([[70, 55, 76, 59]])
    sharp, kernel = ground(), motion_kernel(21, 0)
    sharp[55:59, 70:76] = 250
    real = check_reblur(blurred(sharp, length=21, angle=0), sharp, box, kernel)
    fake = check_reblur(blurred(ground(), length=21, angle=0), sharp, box, kernel)
    assert judge_reblur(real) == ("consistent",)
    assert judge_reblur(fake) == ("inconsistent",)


def test_no_objects_give_no_verdicts():
    check = check_reblur(ground(), ground(), np.zeros((0, 4), np.float32), KERNEL)
    assert check.evidence.shape == check.residual.shape == check.signal.shape == (0,)
    assert judge_reblur(check) == ()


def test_threads_change_no_bit():
    sharp, before = with_car(ground()), blurred(ground())
    threads = cv2.getNumThreads()
    try:
        found = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            found.append(check_reblur(before, sharp, BOX, motion_kernel(21, 45)))
    finally:
        cv2.setNumThreads(threads)
    one, four = found
    assert one.evidence.tobytes() == four.evidence.tobytes()
    assert one.residual.tobytes() == four.residual.tobytes()
    assert one.signal.tobytes() == four.signal.tobytes()


def test_the_background_of_a_ramp_is_the_ramp():
    """Along an axis the two sides' inverse distances interpolate linearly; the others agree."""
    ramp = np.broadcast_to(np.arange(30, dtype=np.float32)[None, :, None], (20, 30, 3)).copy()
    region = (slice(6, 15), slice(8, 21))
    centre = estimate_background(ramp, region)[4, 6]
    np.testing.assert_allclose(centre, ramp[10, 14], atol=1e-5)
    flat = estimate_background(np.full_like(ramp, 0.25), region)
    np.testing.assert_allclose(flat, 0.25, rtol=1e-6)


@pytest.mark.parametrize(
    ("evidence", "signal", "verdict"),
    [
        (CONSISTENT_FROM, LEAST_SIGNAL, "consistent"),
        (INCONSISTENT_BELOW, LEAST_SIGNAL, "undecided"),
        (INCONSISTENT_BELOW - 0.01, LEAST_SIGNAL, "inconsistent"),
        (-1.0, LEAST_SIGNAL - 0.01, "undecided"),
        (2.0, LEAST_SIGNAL - 0.01, "undecided"),
        (float("nan"), 0.0, "undecided"),
    ],
)
def test_thresholds_divide_the_verdicts(evidence, signal, verdict):
    check = ReblurCheck(*np.float32([[evidence], [1], [signal]]))
    assert judge_reblur(check) == (verdict,)


def test_arguments_of_the_wrong_shape_are_refused():
    image = ground()
    with pytest.raises(ValueError, match="before and after must both"):
        check_reblur(image, image[1:], BOX, KERNEL)
    with pytest.raises(ValueError, match="uint8"):
        check_reblur(image, image.astype(np.float32), BOX, KERNEL)
    with pytest.raises(ValueError, match="boxes must be"):
        check_reblur(image, image, BOX[0], KERNEL)
    with pytest.raises(ValueError, match="odd sides"):
        check_reblur(image, image, BOX, np.full((2, 2), 0.25, np.float32))
