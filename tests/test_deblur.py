"""Tiles of any size, and arms that share detections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_detections, make_scene
from scenes import textured

from configs.schema import SkipConfig
from transforms.deblur import DeblurPolicy, deblur_tiles
from transforms.detect import detect_tiles, drop_invalid
from transforms.functional.blur import blur_tile
from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.windows import Rectangle
from transforms.inference import map_by_shape
from transforms.records import SHIFT, DeblurredTile, Rejected, Tile, Window


def make_tile(height: int, width: int, level: int) -> Tile:
    core = Rectangle(0, 0, width, height)
    image = np.full((height, width, 3), level, np.uint8)
    window = Window(make_scene(), core, core, None)
    return Tile(
        window, image, None, np.ones((height, width), bool), None, np.ones((height, width), bool)
    )


def add_null(tile):
    return {"null": tile.before.copy()}


def invert(images):
    assert min(images.shape[1:3]) >= 64
    return 255 - images


def test_tiles_of_any_size_come_back_in_order_and_in_their_size():
    sizes = [(64, 64), (10, 200), (64, 64), (3, 5)]
    tiles = [make_tile(*size, level) for level, size in enumerate(sizes)]
    settled = Rejected("k", "s", "read", "E", "m")
    outcomes = deblur_tiles([tiles[0], settled, *tiles[1:]], invert, add_null)
    assert outcomes[1] is settled
    deblurred = [outcome for outcome in outcomes if isinstance(outcome, DeblurredTile)]
    for tile, outcome, size in zip(tiles, deblurred, sizes, strict=True):
        assert outcome.tile is tile
        assert list(outcome.images) == ["before", "null", "after"]
        assert outcome.images["after"].shape == (*size, 3)
        assert (outcome.images["after"] == 255 - tile.before).all()


def test_pictures_of_one_shape_go_together():
    calls = []

    def network(stack):
        calls.append(stack.shape)
        return [int(image[0, 0, 0]) for image in stack]

    shapes = [(4, 4, 3), (2, 4, 3), (4, 4, 3)]
    images = [np.full(shape, level, np.uint8) for level, shape in enumerate(shapes)]
    assert map_by_shape(images, network) == [0, 1, 2]
    assert sorted(calls) == [(1, 2, 4, 3), (2, 4, 4, 3)]


def test_arms_of_equal_pixels_are_searched_once():
    seen = []

    def find(stack):
        seen.extend(image.tobytes() for image in stack)
        return [make_detections((1, 1, 9, 9)) for _ in stack]

    tile = make_tile(64, 64, 100)
    [deblurred] = deblur_tiles([tile], invert, add_null)
    [detected] = detect_tiles([deblurred], find)
    assert len(seen) == 2
    assert list(detected.detections) == ["before", "null", "after"]


@pytest.mark.parametrize(("x", "kept"), [(10.0, 1), (49.9, 1), (50.0, 0), (70.0, 0), (-3.0, 0)])
def test_detections_on_pixels_without_data_are_dropped(x, kept):
    valid = np.ones((60, 60), bool)
    valid[:, 50:] = False
    found = make_detections((x - 4, 20, x + 4, 28))
    assert len(drop_invalid(found, valid)) == kept


def picture_tile(image: np.ndarray, name: str = "a.tif") -> Tile:
    """Return a tile of a picture that has no halo."""
    core = Rectangle(0, 0, image.shape[1], image.shape[0])
    everywhere = np.ones(image.shape[:2], bool)
    window = Window(make_scene(name), core, core, None)
    return Tile(window, image, None, everywhere, None, everywhere)


SHARP = textured(256, 256, seed=5)
BLURRED = blur_tile(SHARP, length=15, angle=30, noise=0.001)


def deblur_one(tile: Tile, policy: DeblurPolicy) -> DeblurredTile:
    [deblurred] = deblur_tiles([tile], invert, add_null, policy)
    assert isinstance(deblurred, DeblurredTile)
    return deblurred


def test_a_tile_that_is_sharp_already_is_left_as_it_is():
    policy = DeblurPolicy(SkipConfig(below=8, audit=0))
    skipped = deblur_one(picture_tile(SHARP), policy)
    assert skipped.skipped
    assert list(skipped.images) == ["before", "null", "after"]
    assert (skipped.images["after"] == SHARP).all()


def test_a_tile_that_is_blurred_is_not_skipped():
    policy = DeblurPolicy(SkipConfig(below=8, audit=1))
    deblurred = deblur_one(picture_tile(BLURRED), policy)
    assert deblurred.blur.length == pytest.approx(15, abs=2)
    assert not deblurred.skipped
    assert (deblurred.images["after"] == 255 - BLURRED).all()
    assert "unskipped" not in deblurred.images


def test_an_audited_tile_shows_what_skipping_left_out():
    audited = deblur_one(picture_tile(SHARP), DeblurPolicy(SkipConfig(below=8, audit=1)))
    assert audited.skipped
    assert (audited.images["after"] == SHARP).all()
    assert (audited.images["unskipped"] == 255 - SHARP).all()


def test_nothing_is_skipped_unless_asked_for():
    assert not deblur_one(picture_tile(SHARP), DeblurPolicy()).skipped


@given(st.floats(0, 64), st.floats(0, 64), st.floats(0, 1))
def test_what_nobody_could_judge_is_not_skipped(length, below, confidence):
    policy = DeblurPolicy(SkipConfig(below=below))
    skips = policy.skips(BlurEstimate(length, 0, confidence, 0.1))
    assert skips is (confidence > 0 and length < below)


def test_the_network_sees_no_skipped_tile():
    seen = []

    def network(images):
        seen.append(len(images))
        return images

    tiles = [picture_tile(SHARP), picture_tile(BLURRED), picture_tile(SHARP)]
    deblur_tiles(tiles, network, add_null, DeblurPolicy(SkipConfig(below=8, audit=0)))
    assert seen == [1]


def test_a_tile_looked_at_twice_is_moved_right_and_down_and_processed_anew():
    deblurred = deblur_one(picture_tile(BLURRED), DeblurPolicy(stability=1))
    moved = deblurred.shifted["before"]
    assert (moved[SHIFT:, SHIFT:] == BLURRED[:-SHIFT, :-SHIFT]).all()
    assert (deblurred.shifted["after"] == 255 - moved).all()
    assert deblur_one(picture_tile(BLURRED), DeblurPolicy(stability=0)).shifted == {}


def test_a_skipped_tile_is_looked_at_twice_as_it_is():
    policy = DeblurPolicy(SkipConfig(below=8, audit=0), stability=1)
    shifted = deblur_one(picture_tile(SHARP), policy).shifted
    assert (shifted["before"] == shifted["after"]).all()


def test_about_the_wanted_share_is_audited_and_looked_at_twice_whatever_the_order():
    policy = DeblurPolicy(SkipConfig(below=8, audit=0.3), stability=0.2)
    sharp = BlurEstimate(0, 0, 1, 0.1)
    small = np.zeros((1, 1, 3), np.uint8)
    tiles = [picture_tile(small, f"{number}.tif") for number in range(500)]
    audited = [tile for tile in tiles if "unskipped" in policy.wanted(tile, sharp)]
    twice = [tile for tile in tiles if policy.looks_twice(tile)]
    assert 110 < len(audited) < 190
    assert 64 < len(twice) < 136
    assert [tile for tile in tiles[::-1] if policy.looks_twice(tile)] == twice[::-1]


def test_what_is_found_in_the_shifted_picture_is_told_where_it_lies():
    def find(stack):
        return [make_detections((20, 20, 30, 30)) for _ in stack]

    deblurred = deblur_one(picture_tile(BLURRED), DeblurPolicy(stability=1))
    [detected] = detect_tiles([deblurred], find)
    for arm in ("before", "after"):
        assert detected.shifted[arm].xyxy.tolist() == [[19, 19, 29, 29]]
        assert detected.detections[arm].xyxy.tolist() == [[20, 20, 30, 30]]
