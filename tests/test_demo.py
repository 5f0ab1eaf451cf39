"""The demo scene: a COG and labels that fit it, the same every time."""

import json

import numpy as np
import pytest
import rasterio
from small_runs import configure

from examples.before_after import main as draw_before_after
from pipeline.demo import CRS, GSD, write_demo_scene
from pipeline.run import run
from transforms.functional.render import VEHICLE_CLASSES, render_scene


def test_the_scene_is_a_cog_with_overviews_on_its_grid(rendered_scene):
    with rasterio.open(rendered_scene[0]) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.crs.to_string() == CRS
        assert dataset.res == (GSD, GSD)
        assert (dataset.height, dataset.width, dataset.count) == (640, 640, 3)
        assert dataset.overviews(1)


def test_the_labels_are_the_rendered_vehicles_on_the_map(rendered_scene):
    scene, labels = rendered_scene
    rendered = render_scene(seed=3, height=640, width=640, gsd=GSD)
    features = json.loads(labels.read_text())["features"]
    assert len(features) == len(rendered.corners) > 0
    with rasterio.open(scene) as dataset:
        for feature, corners, kind in zip(
            features, rendered.corners, rendered.classes, strict=True
        ):
            ring = np.array(feature["geometry"]["coordinates"][0])
            inverse = np.array(~dataset.transform).reshape(3, 3)
            pixels = ring @ inverse[:2, :2].T + inverse[:2, 2]
            assert np.allclose(pixels[:4], corners, atol=1e-4)
            assert (ring[0] == ring[4]).all()
            assert feature["properties"]["class"] == VEHICLE_CLASSES[kind]


def test_the_file_holds_what_was_rendered(rendered_scene):
    rendered = render_scene(seed=3, height=640, width=640, gsd=GSD)
    with rasterio.open(rendered_scene[0]) as dataset:
        stored = np.moveaxis(dataset.read(), 0, -1)
    assert np.abs(stored.astype(int) - rendered.image).mean() < 3


def test_a_scene_that_is_there_is_not_rendered_again(rendered_scene):
    before = [path.stat().st_mtime_ns for path in rendered_scene]
    assert write_demo_scene(rendered_scene[0].parent, seed=3, size=640) == rendered_scene
    assert [path.stat().st_mtime_ns for path in rendered_scene] == before


@pytest.mark.slow
def test_the_example_draws_before_and_after(tmp_path, rendered_scene):
    import cv2

    scene, labels = rendered_scene
    blur = {"blur": {"lengths": [9], "angles": [30]}}
    assert run(configure(tmp_path / "run", scene, labels, read=blur)) == 0
    picture = tmp_path / "images" / "demo.png"
    draw_before_after([str(tmp_path / "run"), str(picture)])
    drawn = cv2.imread(str(picture))
    side = (drawn.shape[1] - 8) // 2
    before, gap, after = drawn[:, :side], drawn[:, side:-side], drawn[:, -side:]
    assert gap.shape[1] == 8
    assert (gap == 255).all()
    assert (before != after).any()
