"""Tiles of any size, and arms that share detections."""

from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_detections, make_scene
from scenes import textured, write_picture

from configs.schema import DeblurConfig, ReadConfig, RunConfig, SanityConfig, SkipConfig
from models.checkpoints import save_generator
from tests.restorers import TINY, make
from transforms.deblur import DeblurPolicy, SameNetwork, deblur_tiles, load_deblurrer, open_networks
from transforms.detect import detect_tiles, drop_invalid
from transforms.functional.blur import blur_tile
from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.radiometry import REACH
from transforms.functional.windows import Rectangle, plan_cores
from transforms.inference import map_by_shape
from transforms.read import read_tile
from transforms.records import SHIFT, DeblurredTile, Rejected, Tile, TileRow, Window
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows


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


def policy(stability: float = 0.0, **skip: float) -> DeblurPolicy:
    """Return a policy that takes what the network gives."""
    sanity = SanityConfig(check=False)
    return DeblurPolicy(DeblurConfig(lock=False, sanity=sanity, skip=skip), stability)


def test_tiles_of_any_size_come_back_in_order_and_in_their_size():
    sizes = [(64, 64), (10, 200), (64, 64), (3, 5)]
    tiles = [make_tile(*size, level) for level, size in enumerate(sizes)]
    settled = Rejected("k", "s", "read", "E", "m")
    outcomes = deblur_tiles(
        [tiles[0], settled, *tiles[1:]], SameNetwork(invert), add_null, policy()
    )
    assert outcomes[1] is settled
    deblurred = [outcome for outcome in outcomes if isinstance(outcome, DeblurredTile)]
    for tile, outcome, size in zip(tiles, deblurred, sizes, strict=True):
        assert outcome.tile is tile
        assert list(outcome.images) == ["before", "null", "after"]
        assert outcome.images["after"].shape == (*size, 3)
        assert (outcome.images["after"] == 255 - tile.before).all()


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        ({"device": "cuda"}, [(4, 192, 192, 3)]),
        ({"device": "cuda", "normalisation": "per_image"}, [(4, 160, 160, 3)]),
        ({}, [(4, 160, 160, 3)]),
    ],
    ids=["gpu", "gpu, statistics of each picture", "cpu"],
)
def test_tiles_at_edges_are_as_large_as_others_on_a_gpu(changes, shapes):
    seen = []

    def network(stack):
        seen.append(stack.shape)
        return 255 - stack

    tiles = []
    for core in plan_cores(height=256, width=256, core=128):
        read = core.grow(32, height=256, width=256)
        tile = replace(make_tile(160, 160, 0), before=textured(160, 160, core.col_off))
        tiles.append(replace(tile, window=Window(make_scene(), core, read, None)))
    config = policy().config.model_copy(update=changes)
    looks = DeblurPolicy(config, stability=0, read=ReadConfig(core=128, halo=32))
    for outcome in deblur_tiles(tiles, SameNetwork(network), add_null, looks):
        np.testing.assert_array_equal(outcome.images["after"], 255 - outcome.tile.before)
    assert seen == shapes


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
    [deblurred] = deblur_tiles([tile], SameNetwork(invert), add_null, policy())
    [detected] = detect_tiles([deblurred], find)
    assert len(seen) == 2
    assert list(detected.detections) == ["before", "null", "after"]


def test_a_skipped_tile_is_searched_once_and_an_empty_window_never():
    searched, restored = [], []

    def find(stack):
        searched.extend(stack)
        return [make_detections((1, 1, 9, 9)) for _ in stack]

    def network(images):
        restored.extend(images)
        return images

    empty = TileRow.empty(picture_tile(SHARP).window, "none")
    outcomes = deblur_tiles(
        [empty, picture_tile(SHARP)],
        SameNetwork(network),
        lambda tile: {},
        policy(below=8, audit=0),
    )
    first, detected = detect_tiles(outcomes, find)
    assert first is empty
    assert not restored
    assert len(searched) == 1
    assert detected.detections["after"] is detected.detections["before"]


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
DULL = np.clip(BLURRED, 40, 215)
SKIP_ALL = SkipConfig(below=64, audit=1)


def deblur_one(tile: Tile, policy: DeblurPolicy, network=invert) -> DeblurredTile:
    [deblurred] = deblur_tiles([tile], SameNetwork(network), add_null, policy)
    assert isinstance(deblurred, DeblurredTile)
    return deblurred


def test_a_tile_that_is_sharp_already_is_left_as_it_is():
    skipped = deblur_one(picture_tile(SHARP), policy(below=8, audit=0))
    assert skipped.skipped
    assert list(skipped.images) == ["before", "null", "after"]
    assert (skipped.images["after"] == SHARP).all()


def test_a_tile_that_is_blurred_is_not_skipped():
    deblurred = deblur_one(picture_tile(BLURRED), policy(below=8, audit=1))
    assert deblurred.blur.length == pytest.approx(15, abs=2)
    assert not deblurred.skipped
    assert (deblurred.images["after"] == 255 - BLURRED).all()
    assert "unskipped" not in deblurred.images


def test_an_audited_tile_shows_what_skipping_left_out():
    audited = deblur_one(picture_tile(SHARP), policy(below=8, audit=1))
    assert audited.skipped
    assert (audited.images["after"] == SHARP).all()
    assert (audited.images["unskipped"] == 255 - SHARP).all()


def test_nothing_is_skipped_unless_asked_for():
    assert not deblur_one(picture_tile(SHARP), policy()).skipped


@given(st.floats(0, 64), st.floats(0, 64), st.floats(0, 1))
def test_what_nobody_could_judge_is_not_skipped(length, below, confidence):
    skips = policy(below=below).skips(BlurEstimate(length, 0, confidence, 0.1))
    assert skips is (confidence > 0 and length < below)


def test_the_network_sees_no_skipped_tile():
    seen = []

    def network(images):
        seen.append(len(images))
        return images

    tiles = [picture_tile(SHARP), picture_tile(BLURRED), picture_tile(SHARP)]
    deblur_tiles(tiles, SameNetwork(network), add_null, policy(below=8, audit=0))
    assert seen == [1]


def test_a_tile_looked_at_twice_is_moved_right_and_down_and_processed_anew():
    deblurred = deblur_one(picture_tile(BLURRED), policy(stability=1))
    moved = deblurred.shifted["before"]
    assert (moved[SHIFT:, SHIFT:] == BLURRED[:-SHIFT, :-SHIFT]).all()
    assert (deblurred.shifted["after"] == 255 - moved).all()
    assert deblur_one(picture_tile(BLURRED), policy(stability=0)).shifted == {}


def test_a_skipped_tile_is_looked_at_twice_as_it_is():
    shifted = deblur_one(picture_tile(SHARP), policy(1, below=8, audit=0)).shifted
    assert (shifted["before"] == shifted["after"]).all()


def test_about_the_wanted_share_is_audited_and_looked_at_twice_whatever_the_order():
    chosen = policy(0.2, below=8, audit=0.3)
    sharp = BlurEstimate(0, 0, 1, 0.1)
    small = np.zeros((1, 1, 3), np.uint8)
    tiles = [picture_tile(small, f"{number}.tif") for number in range(500)]
    audited = [tile for tile in tiles if "unskipped" in chosen.wanted(tile, sharp)]
    twice = [tile for tile in tiles if chosen.looks_twice(tile)]
    assert 110 < len(audited) < 190
    assert 64 < len(twice) < 136
    assert [tile for tile in tiles[::-1] if chosen.looks_twice(tile)] == twice[::-1]


def test_what_is_found_in_the_shifted_picture_is_told_where_it_lies():
    def find(stack):
        return [make_detections((20, 20, 30, 30)) for _ in stack]

    deblurred = deblur_one(picture_tile(BLURRED), policy(stability=1))
    [detected] = detect_tiles([deblurred], find)
    for arm in ("before", "after"):
        assert detected.shifted[arm].xyxy.tolist() == [[19, 19, 29, 29]]
        assert detected.detections[arm].xyxy.tolist() == [[20, 20, 30, 30]]


LOCKED = DeblurPolicy(DeblurConfig(sanity=SanityConfig(flat=20)), stability=1)


def lift(images):
    return np.clip(images.astype(int) + 9, 0, 255).astype(np.uint8)


def sharpen(images):
    return np.stack([cv2.addWeighted(i, 2, cv2.GaussianBlur(i, (0, 0), 3), -1, 6) for i in images])


def test_brightness_that_the_network_changed_comes_back_in_every_arm():
    skipping = replace(LOCKED, config=LOCKED.config.model_copy(update={"skip": SKIP_ALL}))
    deblurred = deblur_one(picture_tile(DULL), LOCKED, lift)
    skipped = deblur_one(picture_tile(DULL), skipping, lift)
    assert deblurred.fallback == ""
    assert (deblurred.images["after"] == DULL).all()
    assert (deblurred.shifted["after"] == deblurred.shifted["before"]).all()
    assert (skipped.images["unskipped"] == DULL).all()


def test_the_lock_lies_on_the_grid_of_the_scene():
    scene = np.clip(textured(512, 512, 9), 40, 215)
    origins = [(0, 0), (64, 64)]
    tiles = [
        replace(
            picture_tile(np.ascontiguousarray(scene[row : row + 384, col : col + 320])),
            window=Window(make_scene(), *[Rectangle(col, row, 320, 384)] * 2, None),
        )
        for col, row in origins
    ]
    deblurred = deblur_tiles(tiles, SameNetwork(sharpen), add_null, LOCKED)
    first, second = (tile.images["after"] for tile in deblurred)
    within = REACH + 32  # the network of this test reaches 12 px
    inner = np.s_[64 + within : 384 - within, 64 + within : 320 - within]
    assert (first[inner] != scene[inner]).any()
    np.testing.assert_array_equal(
        first[inner], second[within : 320 - within, within : 256 - within]
    )


def black(images):
    return np.zeros_like(images)


def test_an_output_that_is_not_believed_is_replaced_by_the_input():
    deblurred = deblur_one(picture_tile(BLURRED), DeblurPolicy(stability=1), black)
    assert deblurred.fallback == "saturation"
    assert not deblurred.skipped
    assert (deblurred.images["after"] == BLURRED).all()
    assert (deblurred.shifted["after"] == deblurred.shifted["before"]).all()


def test_a_skipped_tile_has_no_fallback_whatever_the_network_would_do():
    config = DeblurConfig(skip=SKIP_ALL)
    skipped = deblur_one(picture_tile(BLURRED), DeblurPolicy(config), black)
    assert skipped.skipped
    assert skipped.fallback == ""
    assert (skipped.images["unskipped"] == BLURRED).all()


def test_every_tile_goes_to_its_own_network_and_those_of_one_go_together():
    calls = []

    def adding(number):
        def network(images):
            calls.append((number, len(images)))
            return images + np.uint8(number)

        return network

    networks = {"a.tif": adding(1), "b.tif": adding(2)}
    tiles = [picture_tile(DULL, name) for name in ("a.tif", "b.tif", "a.tif")]
    deblurred = deblur_tiles(
        tiles, lambda tile: networks[tile.window.scene.name], add_null, policy()
    )
    for tile, number in zip(deblurred, (1, 2, 1), strict=True):
        assert (tile.images["after"] == DULL + number).all()
    assert sorted(calls) == [(1, 2), (2, 1)]


def test_a_tile_without_a_network_is_rejected_alone():
    def network_of(tile):
        if tile.window.scene.name == "b.tif":
            raise ValueError("no statistics")
        return invert

    tiles = [picture_tile(DULL, name) for name in ("a.tif", "b.tif", "c.tif")]
    outcomes = deblur_tiles(tiles, network_of, add_null, policy())
    assert [type(outcome) for outcome in outcomes] == [DeblurredTile, Rejected, DeblurredTile]
    assert (outcomes[1].stage, outcomes[1].message) == ("deblur", "no statistics")


def test_statistics_of_scenes_are_made_where_they_are_asked_for():
    assert open_networks(invert, RunConfig())(make_tile(9, 9, 9)) is invert
    with pytest.raises(TypeError, match="need a Deblurrer, got function"):
        open_networks(invert, RunConfig(deblur={"normalisation": "scene"}))


@pytest.mark.parametrize("normalisation", ["scene", "per_image", "frozen"])
def test_every_normalisation_runs(tmp_path, normalisation):
    weights = tmp_path / "weights.safetensors"
    save_generator(weights, make(TINY["mobilenet"]), halo_px=None)
    write_picture(tmp_path / "a.tif", textured(128, 192, 1))
    config = RunConfig(
        input={"scenes": [str(tmp_path / "a.tif")]},
        read={"core": 64, "halo": 32},
        deblur={"weights": str(weights), "normalisation": normalisation},
    )
    [scene], _ = plan_scenes(config)
    with (
        closing(SceneReader(config.input)) as reader,
        closing(open_networks(load_deblurrer(config.deblur), config)) as network_of,
    ):
        tiles = [
            read_tile(window, reader, None, config.read)
            for window in plan_windows(scene, config.read)
        ]
        assert (network_of(tiles[0]) is network_of(tiles[-1])) is True
        deblurred = deblur_tiles(tiles, network_of, add_null, DeblurPolicy.of(config))
    assert all(isinstance(tile, DeblurredTile) for tile in deblurred)
