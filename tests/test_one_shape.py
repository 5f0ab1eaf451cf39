"""Tiles at edges become as large as others, and keep their cores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import textured

from models.cards import shipped_weights
from models.deblurrer import Deblurrer
from transforms.functional.one_shape import MOST, Margins, find_margins
from transforms.functional.windows import Rectangle, plan_cores

STRIDE = 32


def margins_of(height, width, *, core, halo):
    """The (read, core, margins) of every tile of a scene."""
    for owned in plan_cores(height=height, width=width, core=core):
        read = owned.grow(halo, height=height, width=width)
        yield read, owned, find_margins(read, owned, side=core + 2 * halo, halo=halo, stride=STRIDE)


def size_of(read, margins):
    return read.height + sum(margins.rows), read.width + sum(margins.columns)


@given(
    st.integers(1, 1500),
    st.integers(1, 1500),
    st.sampled_from([128, 256]),
    st.sampled_from([0, 64]),
)
def test_margins_lie_behind_whole_halos_on_the_grid_of_the_network(height, width, core, halo):
    side = core + 2 * halo
    for read, owned, margins in margins_of(height, width, core=core, halo=halo):
        assert max(size_of(read, margins)) <= side
        assert np.prod(size_of(read, margins)) <= MOST * read.area
        for (before, behind), off, length, start, own in (
            (margins.rows, read.row_off, read.height, owned.row_off, owned.height),
            (margins.columns, read.col_off, read.width, owned.col_off, owned.width),
        ):
            assert before % STRIDE == 0
            assert not before or start - off == halo > 0
            assert not behind or off + length - start - own == halo > 0


def test_all_tiles_of_a_scene_of_whole_cores_get_one_shape():
    sizes = {
        size_of(read, margins) for read, _, margins in margins_of(1024, 768, core=256, halo=64)
    }
    assert sizes == {(384, 384)}


def test_a_scene_smaller_than_a_tile_keeps_its_shape():
    [(_, _, margins)] = margins_of(200, 100, core=256, halo=64)
    assert margins == Margins()


def test_what_is_cropped_is_what_was_padded():
    image = textured(96, 64, 0)
    for margins in (Margins(), Margins((32, 0), (0, 17)), Margins((0, 5), (64, 0))):
        padded = margins.pad(image)
        assert padded.shape[:2] == (96 + sum(margins.rows), 64 + sum(margins.columns))
        np.testing.assert_array_equal(margins.crop(padded), image)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deblur_dsc", "deblur_mobilenet"])
def test_cores_of_edge_tiles_change_by_a_level_at_most(name):
    network = Deblurrer.load(shipped_weights()[name])
    halo = network.halo
    scene = textured(512, 768, 3)
    tried = 0
    for read, owned, margins in margins_of(*scene.shape[:2], core=256, halo=halo):
        rows, columns = read.within(Rectangle(0, 0, scene.shape[1], scene.shape[0]))
        tile = np.ascontiguousarray(scene[rows, columns])
        if margins != Margins():
            alone = network(tile[None])[0]
            padded = margins.crop(network(margins.pad(tile)[None])[0])
            difference = np.abs(padded.astype(int) - alone)[owned.within(read)]
            assert difference.max() <= 1
            assert difference.mean() < 0.01
            tried += 1
    assert tried
