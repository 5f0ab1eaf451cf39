"""Seams of a run: tiles meet their neighbours, on any engine alike, and the gate judges."""

from dataclasses import replace

import apache_beam as beam
import cv2
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_scene
from scenes import DATA, textured

from transforms.edges import TileEdges
from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.boxes import Labels
from transforms.functional.histograms import Histograms
from transforms.functional.seams import STEP
from transforms.functional.windows import Rectangle, plan_cores
from transforms.histogram_rows import SceneHistograms
from transforms.measure import MeasuredTile
from transforms.records import (
    Blur,
    DeblurredTile,
    Rejected,
    Settled,
    SummaryRow,
    Tile,
    TileRow,
    Window,
)
from transforms.seam_rows import LEAST_PAIRS, worst_seam
from transforms.seams import SumSeams, edges_of, sum_seams
from transforms.strata import ALL

SIZE = 320
CONTENT = (textured(SIZE, SIZE, seed=0) // 8 + 90).astype(np.uint8)
NOT_BLURRED = BlurEstimate(0, 0, 0, 0)
NO_LABELS = Labels.plain(np.zeros((0, 4, 2), np.float32), np.zeros(0, np.int32))


def cut(
    before: np.ndarray,
    after: np.ndarray,
    *,
    core: int = 64,
    name: str = "a.tif",
    blur: Blur | None = None,
    labels: Labels | None = None,
) -> list[MeasuredTile]:
    """Return the tiles of a scene whose two versions are known as a whole."""
    height, width = before.shape[:2]
    whole = Rectangle(0, 0, width, height)
    scene = replace(make_scene(name), height=height, width=width)
    tiles = []
    for place in plan_cores(height=height, width=width, core=core):
        window = Window(scene, place, place.grow(32, height=height, width=width), blur)
        at = window.read.within(whole)
        valid = np.ones(before[at].shape[:2], bool)
        tile = Tile(window, before[at], None, valid, labels, valid)
        edges = TileEdges.of(DeblurredTile(tile, {"after": after[at]}, NOT_BLURRED, False, {}))
        histograms = SceneHistograms.of(window, "none", {"before": Histograms()})
        tiles.append(MeasuredTile(TileRow.empty(window, "none"), histograms, edges))
    return tiles


def measured(
    step: int = 0, *, core: int = 64, image: np.ndarray = CONTENT, **settings
) -> list[MeasuredTile]:
    """Return the tiles of a scene; deblurring adds `step` levels to every second one."""
    rows, columns = np.indices(image.shape[:2]) // core
    after = np.clip(image + step * ((rows + columns) % 2)[..., None], 0, 255).astype(np.uint8)
    return cut(image, after, core=core, **settings)


def values(rows: list[SummaryRow], stratum: str = ALL) -> dict[tuple[str, str], float | None]:
    return {(row.arm, row.metric): row.value for row in rows if row.stratum == stratum}


def by_name(row: SummaryRow) -> tuple[str, str, str]:
    return row.stratum, row.arm, row.metric


def test_a_run_that_changes_nothing_has_no_excess():
    rows = sum_seams(measured())
    assert {row.stratum for row in rows} == {ALL, "scene=a.tif"}
    known = values(rows)
    assert known["after", "seam_excess"] == 1
    assert known["before", "seam_ratio"] == known["after", "seam_ratio"]
    assert worst_seam(rows, 1.1) == ""


def test_tiles_that_differ_show_and_the_scene_is_named():
    rows = sum_seams([*measured(4, name="bad.tif"), *measured(name="good.tif")])
    good, bad = (values(rows, f"scene={name}.tif") for name in ("good", "bad"))
    assert bad["after", "seam_excess"] > values(rows)["after", "seam_excess"] > 1.1
    assert good["after", "seam_excess"] == 1
    told = worst_seam(rows, 1.1)
    assert "bad.tif" in told
    assert f"{bad['after', 'seam_excess']:.2f}" in told
    assert "read.halo" in told
    assert worst_seam(rows, 100) == worst_seam(rows, None) == ""


def test_a_gate_on_the_whole_run_names_no_scene():
    everything = [row for row in sum_seams(measured(4)) if row.stratum == ALL]
    assert "all scenes together" in worst_seam(everything, 1.1)


def test_excess_is_the_ratio_of_the_ratios():
    known = values(sum_seams(measured(3)))
    ratios = known["after", "seam_ratio"] / known["before", "seam_ratio"]
    assert known["after", "seam_excess"] == pytest.approx(ratios)


@pytest.mark.parametrize(("low", "told"), [(1.2, True), (0.9, False), (None, False)])
def test_the_gate_fails_only_what_chance_does_not_explain(low, told):
    rows = [replace(row, low=low) for row in sum_seams(measured(6)) if row.metric == "seam_excess"]
    assert bool(worst_seam(rows, 1.1)) == told


def test_a_scene_of_one_tile_has_no_borders_and_no_number():
    rows = sum_seams(measured(3, core=SIZE))
    assert len(rows) == 6
    for row in rows:
        assert (row.value, row.low, row.n, row.clusters) == (None, None, 0, 0)
        assert row.status == f"insufficient: n < {LEAST_PAIRS}"
    assert worst_seam(rows, 1.1) == ""


def test_few_pairs_are_marked_and_few_lines_have_no_interval():
    small = {by_name(row): row for row in sum_seams(measured(9, core=64, image=CONTENT[:64, :256]))}
    assert small[ALL, "after", "seam_excess"].n == 3 * 64 // STEP
    assert small[ALL, "after", "seam_excess"].status.startswith("insufficient")
    two = sum_seams(measured(9, core=256, image=np.tile(CONTENT, (2, 2, 1))[:512, :512]))
    statuses = {row.metric: row.status for row in two}
    assert statuses["seam_ratio"] == "ok"
    assert statuses["seam_excess"].startswith("no interval")
    assert worst_seam(two, 1.1) == ""


def test_pairs_and_lines_of_a_full_grid_are_counted():
    row = sum_seams(measured())[0]
    assert (row.n, row.clusters) == (2 * 4 * SIZE // STEP, 2 * 4)


def test_pictures_of_one_scene_under_two_blurs_do_not_meet_but_share_their_lines():
    one, two = Blur(7, 0.0), Blur(7, 90.0)
    rows = sum_seams([*measured(blur=one), *measured(blur=two)])
    assert (rows[0].n, rows[0].clusters) == (2 * 2 * 4 * SIZE // STEP, 2 * 4)
    half = [*measured(blur=one)[::2], *measured(blur=two)[1::2]]
    assert sum_seams(half)[0].n == 0


def test_windows_that_settled_earlier_have_no_edges_and_no_neighbour():
    tiles: list[MeasuredTile | Settled] = list(measured(3))
    missing = 12  # in the middle
    rejected = Rejected("a.tif:128,128", "a.tif", "read", "SceneError", "why")
    for settled in (rejected, tiles[missing].row):
        assert list(edges_of(settled)) == []
        rows = sum_seams([*tiles[:missing], settled, *tiles[missing + 1 :]])
        assert rows[0].n == (2 * 4 * 5 - 4) * 64 // STEP
    assert sum_seams([rejected]) == []


def test_truth_is_that_of_the_tiles():
    assert {row.truth for row in sum_seams(measured(labels=NO_LABELS))} == {"labels"}
    assert {row.truth for row in sum_seams(measured())} == {"none"}


@given(st.randoms(use_true_random=False), st.integers(1, 25))
@settings(max_examples=15)
def test_the_order_of_the_tiles_does_not_matter(random, kept):
    tiles = [*measured(2), *measured(3, name="b.tif")]
    random.shuffle(tiles)
    tiles = tiles[: 2 * kept]
    straight = sorted(sum_seams(tiles), key=by_name)
    random.shuffle(tiles)
    assert sorted(sum_seams(tiles), key=by_name) == straight


def test_the_engine_sums_as_the_plain_loop_does():
    rejected = Rejected("c", "c.tif", "read", "SceneError", "why")
    tiles = [*measured(2), rejected, *measured(3, name="b.tif", blur=Blur(7, 0.0))]
    tiles = [*tiles[::-2], *tiles[-2::-2]]
    with beam.Pipeline() as pipeline:
        rows = pipeline | beam.Create(tiles) | SumSeams()
        assert_that(rows, equal_to(sum_seams(tiles)))


def test_the_rows_have_no_test_and_no_adjustment():
    for row in sum_seams(measured(3)):
        assert (row.p, row.p_holm, row.minimum_detectable) == (None, None, None)
        assert (row.low is None) == (row.metric != "seam_excess")


def test_a_core_of_1024_hands_on_less_than_4_kilobytes():
    image = np.zeros((1024, 1024, 3), np.uint8)
    [tile] = measured(image=image, core=1024)
    edges = tile.edges.edges.values()
    assert sum(edge.outer.nbytes + edge.valid.nbytes for edge in edges) == 3584


@pytest.mark.skipif(not DATA.exists(), reason="real pictures are not here")
@pytest.mark.parametrize("name", ["vehicles_munich/MOS76.png", "vehicles_minsk/DJI_0762-00013.jpg"])
def test_sharpening_a_whole_picture_is_no_seam(name):
    """The picture is changed as a whole, so that no grid can show, wherever its cores lie."""
    image = cv2.imread(str(DATA / name))
    soft = cv2.GaussianBlur(image, (0, 0), 2)
    sharp = cv2.addWeighted(soft, 2, cv2.GaussianBlur(soft, (0, 0), 2), -1, 0)
    for core in (64, 96, 128, 160, 192):
        rows = sum_seams(cut(soft, sharp, core=core))
        assert worst_seam(rows, 1.1) == ""
        assert values(rows)["after", "seam_excess"] == pytest.approx(1, abs=0.1)
