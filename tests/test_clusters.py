"""Clusters: what was drawn together stays together, and there are never too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_camera_scene, make_scene

from configs.schema import IntervalConfig
from transforms.clusters import ENOUGH, MOST, Clusters
from transforms.functional.windows import Rectangle
from transforms.records import Blur, Window

OFFSETS = st.integers(0, 4095)


def window(scene="a.tif", *, col=0, row=0, blur=None):
    core = Rectangle(col, row, 512, 512)
    return Window(make_scene(scene), core, core, blur)


def clusters_of(scenes, core=512, **settings):
    return Clusters.of(
        [make_scene(f"{number}.tif") for number in range(scenes)],
        core=core,
        config=IntervalConfig(**settings),
    )


@pytest.mark.parametrize(("scenes", "by"), [(ENOUGH - 1, "block"), (ENOUGH, "scene")])
def test_scenes_are_clusters_where_there_are_enough(scenes, by):
    assert clusters_of(scenes).by == by


@pytest.mark.parametrize("by", ["scene", "block", "place"])
@pytest.mark.parametrize("scenes", [1, 50])
def test_what_was_asked_for_is_taken(by, scenes):
    assert clusters_of(scenes, clusters=by).by == by


@pytest.mark.parametrize(
    ("scenes", "core", "block", "planned"),
    # Scenes are 4096 x 4096 px.
    [
        (1, 64, 8, 64),
        (1, 128, 4, 64),
        (1, 256, 2, 64),
        (1, 512, 1, 64),
        (5, 256, 8, 20),
        (1, 1024, 1, 16),
    ],
)
def test_blocks_are_as_large_as_leaves_enough_of_them(scenes, core, block, planned):
    clusters = clusters_of(scenes, core=core)
    assert (clusters.block, clusters.planned) == (block, planned)


def test_a_block_can_be_given():
    assert clusters_of(1, clusters="block", block=3).block == 3
    assert clusters_of(1, clusters="block", block=3).planned == 9


def street(*sequences):
    return [make_camera_scene(f"{n}.jpg", sequence=name) for n, name in enumerate(sequences)]


def choose(scenes, **settings):
    return Clusters.of(scenes, core=512, config=IntervalConfig(**settings))


@pytest.mark.parametrize("by", ["auto", "sequence"])
def test_pictures_of_a_camera_are_clustered_by_sequence_however_few(by):
    scenes = street(*["a"] * ENOUGH, *["b"] * ENOUGH)
    clusters = choose(scenes, clusters=by)
    assert (clusters.by, clusters.planned) == ("sequence", 2)
    core = Rectangle(512, 0, 512, 512)
    names = [clusters.name(Window(scene, core, core, None)) for scene in scenes]
    assert names == ["a"] * ENOUGH + ["b"] * ENOUGH


def test_pictures_of_a_camera_can_be_clusters_of_their_own():
    assert choose(street("a", "a", "b"), clusters="scene").planned == 3


@pytest.mark.parametrize("scenes", [[make_scene()], [*street("a"), make_scene()]])
def test_sequences_of_scenes_without_a_camera_are_an_error(scenes):
    with pytest.raises(ValueError, match=r"got 1 scenes without one, such as a\.tif: take scene"):
        choose(scenes, clusters="sequence")


def test_no_scenes_are_no_sequences():
    assert choose([], clusters="sequence").planned == 0
    assert choose([]).by == "block"


@given(OFFSETS, OFFSETS, st.sampled_from([1, 3, 8]))
def test_a_block_is_a_square_of_cores(col, row, side):
    clusters = Clusters("block", 256, side, 100)
    span = 256 * side
    assert clusters.name(window(col=col, row=row)) == f"a.tif:{col // span},{row // span}"


def test_blurs_of_one_place_are_one_cluster():
    blurs = [None, Blur(7, 0), Blur(15, 90, severity=4)]
    for by in ("scene", "block", "place"):
        clusters = Clusters(by, 512, 1, 100)
        assert len({clusters.name(window(col=512, blur=blur)) for blur in blurs}) == 1


def test_scenes_are_apart_unless_they_show_one_place():
    pair = [window(scene) for scene in ("a.tif", "b.tif")]
    names = {by: {Clusters(by, 512, 1, 9).name(each) for each in pair} for by in ("block", "place")}
    assert len(names["block"]) == 2
    assert len(names["place"]) == 1


def test_blocks_of_a_place_are_counted_once():
    assert clusters_of(7, clusters="place").planned == 64


def test_scene_clusters_do_not_ask_where_a_tile_lies():
    clusters = Clusters("scene", 512, 1, 100)
    assert clusters.name(window(col=512)) == clusters.name(window(row=1024)) == "a.tif"


def test_more_clusters_than_the_most_are_thrown_together_alike_on_every_worker():
    many = Clusters("scene", 512, 1, MOST + 1)
    names = {many.name(window(f"{number}.tif")) for number in range(3 * MOST)}
    assert 0.85 * MOST < len(names) <= MOST
    # Recorded: another machine must throw the same tiles together.
    assert many.name(window("a.tif")) == "1506"
    assert Clusters("scene", 512, 1, MOST).name(window("a.tif")) == "a.tif"
