"""Windows partition a scene, and the halo never leaves it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.windows import Rectangle, pixels_read, plan_cores

SIZES = st.integers(1, 300)


@given(height=SIZES, width=SIZES, core=st.integers(8, 200))
def test_every_pixel_has_exactly_one_owner(height, width, core):
    owners = np.zeros((height, width), int)
    scene = Rectangle(0, 0, width, height)
    for rectangle in plan_cores(height=height, width=width, core=core):
        owners[rectangle.within(scene)] += 1
    assert (owners == 1).all()


@given(height=SIZES, width=SIZES, core=st.integers(1, 200), x=st.floats(0, 1), y=st.floats(0, 1))
def test_every_point_has_exactly_one_owner(height, width, core, x, y):
    point = (min(x * width, np.nextafter(width, 0)), min(y * height, np.nextafter(height, 0)))
    cores = plan_cores(height=height, width=width, core=core)
    assert sum(rectangle.owns(*point) for rectangle in cores) == 1


@given(height=SIZES, width=SIZES, core=st.integers(8, 200), margin=st.integers(0, 100))
def test_a_halo_contains_its_core_and_stays_in_the_scene(height, width, core, margin):
    scene = Rectangle(0, 0, width, height)
    for rectangle in plan_cores(height=height, width=width, core=core):
        grown = rectangle.grow(margin, height=height, width=width)
        rectangle.within(grown)
        grown.within(scene)
        assert grown.area <= (rectangle.width + 2 * margin) * (rectangle.height + 2 * margin)


def test_origins_lie_on_the_grid_of_the_networks():
    windows = plan_cores(height=1000, width=1500, core=512)
    grown = [core.grow(64, height=1000, width=1500) for core in windows]
    assert {offset % 32 for g in grown for offset in (g.col_off, g.row_off)} == {0}


def test_a_rectangle_outside_another_is_an_error():
    with pytest.raises(ValueError, match="must lie inside"):
        Rectangle(10, 0, 5, 5).within(Rectangle(0, 0, 12, 12))


@pytest.mark.parametrize("wrong", [{"height": 0}, {"width": -1}, {"core": 0}])
def test_sizes_must_be_positive(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        list(plan_cores(**({"height": 10, "width": 10, "core": 4} | wrong)))


@given(height=SIZES, width=SIZES, core=st.integers(8, 200), halo=st.integers(0, 100))
def test_the_pixels_read_are_those_of_all_cores_with_their_halos(height, width, core, halo):
    size = {"height": height, "width": width}
    areas = [each.grow(halo, **size).area for each in plan_cores(**size, core=core)]
    assert pixels_read(**size, core=core, halo=halo) == sum(areas)
