"""The job against by hand: the same pixels, and what a large scene adds to a small one."""

from argparse import Namespace

import numpy as np
import pytest
import rasterio
from PIL import Image
from scenes import textured, write_picture

from benchmarks.by_hand import HAND, JOB, Contest, cut_tiles, describe, measure, subtract
from pipeline.rounds import Lap


def test_tiles_are_the_cores_of_the_scene(tmp_path):
    scene = write_picture(tmp_path / "scene.tif", textured(128, 192, seed=5))
    folder = cut_tiles(scene, 64, tmp_path / "tiles")
    assert len(list(folder.iterdir())) == 6
    with rasterio.open(scene) as dataset:
        expected = dataset.read().transpose(1, 2, 0)[64:128, 128:192]
    assert np.array_equal(np.asarray(Image.open(folder / "64_128.png")), expected)


def test_what_a_large_scene_adds_is_without_the_start():
    start, per_mpix = 10.0, 0.5
    small, large = (Lap(mpix, start + per_mpix * mpix, 2 * mpix) for mpix in (1.0, 16.0))
    added = subtract(large, small)
    assert added == Lap(15.0, 7.5, 30.0)
    assert added.speed == 1 / per_mpix


def test_a_turn_is_what_the_large_scene_adds_and_the_whole_is_kept(monkeypatch):
    contest = object.__new__(Contest)
    contest.whole = {HAND: [], JOB: []}
    laps = {"small": Lap(1.0, 5.0, 1.0), "large": Lap(4.0, 8.0, 2.0)}
    monkeypatch.setattr(contest, "job", laps.__getitem__, raising=False)
    assert contest.turn(JOB)() == Lap(3.0, 3.0, 1.0)
    assert contest.whole == {HAND: [], JOB: [laps["large"]]}


def test_the_table_says_how_many_times_as_fast_the_job_is():
    laps = {HAND: [Lap(1.0, 2.0, 1.0)] * 2, JOB: [Lap(1.0, 0.5, 1.0), Lap(1.0, 0.25, 1.0)]}
    sheet = describe("title", {"steady": laps})
    hand, job, ratio = "0.50 (0.50 to 0.50)", "3.00 (2.00 to 4.00)", "6.00 (4.00 to 8.00)"
    assert sheet.rows == [("steady, MPix/s", hand, job, ratio)]


@pytest.mark.slow
def test_both_ways_find_nearly_the_same(tmp_path):
    given = Namespace(tiles=2, core=192, halo=64, weights="deblur_dsc")
    given.backend, given.dtype, given.workers, given.rounds = "torch", "float32", 1, 1
    measured = measure(given)
    assert {way: len(laps) for way, laps in measured["spans"]["whole"].items()} == {HAND: 1, JOB: 1}
    hand, job = measured["found"][HAND], measured["found"][JOB]
    assert hand["before"] > 10
    for arm in ("before", "after"):
        # By hand the tiles have no halo: what a border cuts may be found in two tiles, or in none.
        assert abs(hand[arm] - job[arm]) <= 0.2 * job[arm]
