"""No seams: how a scene is cut does not show in what comes out."""

import numpy as np
import pytest
import torch
from scenes import DATA, textured, write_picture
from stub_networks import Nothing

from configs.load import validate
from configs.schema import RunConfig
from models.cards import read_card, shipped_weights
from models.checkpoints import save_generator
from pipeline.direct import Networks, detect_windows
from pipeline.planning import plan_run
from tests.restorers import TINY, make
from transforms.deblur import load_deblurrer
from transforms.functional.blur import blur_tile
from transforms.functional.radiometry import BLOCK
from transforms.functional.render import render_scene
from transforms.records import DetectedTile

SIDE = 640
CORE = 192


def flat():
    """Return light and dark fields with hardly any texture, and sensor noise."""
    rng = np.random.default_rng(4)
    levels = np.repeat(np.repeat(rng.integers(60, 200, (5, 5, 1)), 150, axis=0), 150, axis=1)
    noisy = levels[:SIDE, :SIDE] + rng.normal(0, 1.5, (SIDE, SIDE, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def busy():
    return render_scene(seed=3, height=SIDE, width=SIDE, gsd=0.15).image


PICTURES = {"flat": flat, "busy": busy}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Pictures blurred by 9 px, as files."""
    folder = tmp_path_factory.mktemp("scenes")
    return {
        name: write_picture(
            folder / f"{name}.tif", blur_tile(make_picture(), length=9, angle=30, noise=0.001)
        )
        for name, make_picture in PICTURES.items()
    }


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """Weights with instance and batch norms that have to take their statistics somewhere."""
    path = tmp_path_factory.mktemp("weights") / "normed.safetensors"
    save_generator(path, make(TINY["mobilenet"]), halo_px=None, dtype=torch.float32)
    return path


def stitch(scene, *, halo, origin=(0, 0), core=CORE, **deblur):
    """Return `before` and `after` of a whole scene, put together from cores."""
    read = {"core": core, "halo": halo, "origin": origin}
    content = {
        "input": {"scenes": [str(scene)]},
        "read": read,
        "deblur": deblur,
        "arms": {"controls": []},
        "measure": {"stability": 0},
        "output": str(scene.with_suffix("")),
    }
    plan = plan_run(validate(RunConfig, content, source="test"))
    [known] = plan.scenes
    pictures = np.zeros((2, known.height, known.width, 3), np.uint8)
    networks = Networks(load_deblurrer(plan.config.deblur), Nothing())
    for tile in detect_windows(plan, plan.windows, networks):
        assert isinstance(tile, DetectedTile)
        assert not tile.deblurred.fallback
        window, images = tile.deblurred.tile.window, tile.deblurred.images
        inner, core_ = window.core.within(window.read), window.core
        rows = slice(core_.row_off, core_.row_off + core_.height)
        columns = slice(core_.col_off, core_.col_off + core_.width)
        pictures[:, rows, columns] = images["before"][inner], images["after"][inner]
    return pictures


def jumps(image, lines):
    """Return the mean |difference| in levels across vertical and horizontal lines of a picture."""
    wide = image.astype(np.float64)
    height, width = image.shape[:2]
    across = [np.abs(wide[:, at] - wide[:, at - 1]).mean() for at in lines if at < width]
    down = [np.abs(wide[at] - wide[at - 1]).mean() for at in lines if at < height]
    return float(np.mean(across + down))


def seam_ratio(before, after):
    """Return how much deblurring changed the jumps at borders, against those 8 to 32 px beside.

    Written anew, as a witness for `transforms.functional.seams`: all pixels, no cap.
    """
    borders = range(CORE, SIDE, CORE)
    beside = [at + step for at in borders for step in (-32, -24, -16, -8, 8, 16, 24, 32)]
    ratio = [jumps(image, borders) / jumps(image, beside) for image in (after, before)]
    return ratio[0] / ratio[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("weights", ["deblur_dsc", "deblur_mobilenet"])
def test_frozen_tiles_leave_no_seam(scenes, name, weights):
    before, after = stitch(scenes[name], halo=160, weights=weights)
    assert (before != after).any()
    assert seam_ratio(before, after) <= 1.05


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_statistics_of_the_scene_leave_no_seam_where_those_of_the_tile_do(scenes, name, normed):
    # Random weights change pictures at their own stride, on which borders lie: what tiles add to
    # that is what counts.
    settings = {"weights": str(normed), "sanity": {"check": False}}
    whole = seam_ratio(*stitch(scenes[name], normalisation="scene", halo=0, core=1024, **settings))
    of_scene, per_image = (
        seam_ratio(*stitch(scenes[name], normalisation=mode, halo=160, **settings))
        for mode in ("scene", "per_image")
    )
    assert of_scene / whole <= 1.01
    assert per_image / whole > 1.5


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_trained_weights_with_statistics_of_the_scene_leave_no_seam(scenes, name):
    # The statistics of a flat scene are not those of its training: its output there is refused.
    settings = {"weights": "deblur_mobilenet", "normalisation": "scene", "sanity": {"check": False}}
    assert seam_ratio(*stitch(scenes[name], halo=160, **settings)) <= 1.05


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("weights", ["deblur_dsc", "deblur_mobilenet"])
def test_shifting_the_grid_by_96_px_changes_no_pixel_by_more_than_a_level(scenes, name, weights):
    halo = read_card(shipped_weights()[weights]).halo_px
    _, here = stitch(scenes[name], halo=halo, weights=weights)
    _, there = stitch(scenes[name], halo=halo, weights=weights, origin=(96, 96))
    assert np.abs(here.astype(int) - there).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("weights", "halo"), [("deblur_dsc", 288), ("deblur_mobilenet", 352)])
def test_exact_tiles_agree_to_the_last_bit(scenes, name, weights, halo):
    _, here = stitch(scenes[name], halo=halo, weights=weights, exact=True)
    _, there = stitch(scenes[name], halo=halo, weights=weights, exact=True, origin=(96, 96))
    _, whole = stitch(scenes[name], halo=0, core=1024, weights=weights)
    np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(here, whole)


@pytest.mark.slow
def test_exact_holds_for_statistics_of_the_scene_too(scenes, normed):
    settings = {"weights": str(normed), "normalisation": "scene", "exact": True, "halo": 224}
    settings["sanity"] = {"check": False}
    _, here = stitch(scenes["busy"], **settings)
    _, there = stitch(scenes["busy"], origin=(96, 96), **settings)
    # What is seen is the same; which convolution a processor takes for a tile's size may not be.
    change = np.abs(here.astype(int) - there)
    assert change.max() <= 1
    assert np.mean(change > 0) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_means_of_blocks_stay_those_of_the_input(scenes, name):
    before, after = stitch(scenes[name], halo=160)
    change = after.astype(np.float64) - before
    means = change.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK, 3).mean(axis=(1, 3))
    assert np.abs(means).max() < 0.5
    loose = stitch(scenes[name], halo=160, lock=False)
    drift = (loose[1].astype(np.float64) - loose[0]).reshape(20, 32, 20, 32, 3).mean(axis=(1, 3))
    assert np.abs(drift).max() > np.abs(means).max()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the real pictures are not beside the project")
def test_a_real_street_has_no_seams(tmp_path):
    import cv2

    picture = next((DATA / "vehicles_munich").glob("MunichStreet02-*.png"))
    image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)[:SIDE, :SIDE]
    image = blur_tile(np.ascontiguousarray(image), length=11, angle=60, noise=0.001)
    scene = write_picture(tmp_path / "street.tif", image)
    before, after = stitch(scene, halo=160)
    assert seam_ratio(before, after) <= 1.05
    _, there = stitch(scene, halo=160, origin=(96, 96))
    assert np.abs(after.astype(int) - there).max() <= 1


def test_the_witness_sees_a_step_of_three_levels():
    before = textured(SIDE, SIDE, 5) // 2 + 60
    after = before.astype(int)
    for row in range(0, SIDE, CORE):
        for column in range(0, SIDE, CORE):
            step = 3 * ((row + column) // CORE % 2)
            after[row : row + CORE, column : column + CORE] += step
    assert seam_ratio(before, before) == 1
    assert seam_ratio(before, after.astype(np.uint8)) > 1.01
