"""Tiles of any size, and arms that share detections."""

import numpy as np
import pytest
from made_rows import make_detections, make_scene

from transforms.deblur import deblur_tiles
from transforms.detect import detect_tiles, drop_invalid
from transforms.functional.windows import Rectangle
from transforms.inference import map_by_shape
from transforms.records import DeblurredTile, Rejected, Tile, Window


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
