"""Unit files: what comes out is what went in, to the last bit, and damage is seen."""

import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import configure
from stub_networks import STUBS

from pipeline.direct import measure_windows
from pipeline.planning import plan_run
from transforms.functional.boxes import Detections, xyxy_to_corners
from transforms.records import TileRow
from transforms.unit_files import MAGIC, UnitError, decode_unit, encode_unit


def assert_same(one, two):
    """Compare two values to the last bit, types included."""
    assert type(one) is type(two)
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(two, field.name))
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        assert one.tobytes() == two.tobytes()
    elif isinstance(one, tuple):
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            assert_same(first, second)
    elif isinstance(one, dict):
        assert list(one) == list(two)
        for key, value in one.items():
            assert_same(value, two[key])
    elif isinstance(one, float) and math.isnan(one):
        assert math.isnan(two)
    else:
        assert one == two


def find_two(images):
    """Find two objects in every picture, whatever it shows."""
    boxes = xyxy_to_corners(np.array([[20, 20, 40, 36], [70, 64, 92, 80]], np.float32))
    scores = np.array([0.9, 0.6], np.float32)
    return [Detections(boxes, scores, np.zeros(2, np.int32)) for _ in images]


find_two.names = STUBS.find.names


@pytest.fixture(scope="module", params=["labels", "reference", "none"])
def measured(request, tmp_path_factory, rendered_scene):
    """What is measured in some windows, under each kind of truth."""
    scene, labels = rendered_scene
    output = tmp_path_factory.mktemp("units")
    read = {"blur": {"lengths": [7], "angles": [30]}} if request.param == "reference" else {}
    config = configure(
        output,
        scene,
        labels if request.param == "labels" else None,
        read=read | {"core": 320},
        measure={"stability": 1.0},
    )
    plan = plan_run(config)
    networks = dataclasses.replace(STUBS, find=find_two)
    return list(measure_windows(plan, plan.windows, networks))


def test_a_measured_window_comes_back_to_the_last_bit(measured):
    assert {tile.row.status for tile in measured} == {"measured"}
    for tile in measured:
        assert_same(decode_unit(encode_unit(tile)), tile)


def test_an_empty_window_comes_back(measured):
    row = TileRow.empty(measured[0].row.window, "labels")
    assert_same(decode_unit(encode_unit(row)), row)


def test_no_key_of_a_url_is_kept(measured):
    row = TileRow.empty(measured[0].row.window, "none")
    scene = dataclasses.replace(
        row.window.scene,
        name="track;pass=2.tif",
        path="https://in/a.tif?sig=0af3",
        item="https://in/a.json?sig=0af3",
    )
    window = dataclasses.replace(row.window, scene=scene)
    back = decode_unit(encode_unit(dataclasses.replace(row, window=window)))
    assert back.window.scene.path == "https://in/a.tif?sig=..."
    assert back.window.scene.item == "https://in/a.json?sig=..."
    assert back.window.key == window.key


def test_equal_windows_have_equal_bytes(measured):
    for tile in measured:
        assert encode_unit(decode_unit(encode_unit(tile))) == encode_unit(tile)


def test_exact_sums_stay_exact(measured):
    tile = measured[0]
    arm = tile.row.arms[0]
    odd = dataclasses.replace(arm.sharpness, total=Fraction(10**40 + 1, 3**30))
    row = dataclasses.replace(tile.row, arms=(dataclasses.replace(arm, sharpness=odd),))
    back = decode_unit(encode_unit(dataclasses.replace(tile, row=row)))
    assert back.row.arms[0].sharpness == odd


def test_arrays_that_come_back_can_be_written_to(measured):
    back = decode_unit(encode_unit(measured[0]))
    back.row.arms[0].sightings.claimed[...] = False


@given(data=st.data())
def test_every_damage_is_seen(data, measured):
    content = encode_unit(measured[0])
    place = data.draw(st.integers(0, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    damaged = bytearray(content)
    damaged[place] ^= bit
    with pytest.raises(UnitError):
        decode_unit(bytes(damaged))
    with pytest.raises(UnitError):
        decode_unit(content[:place])


@pytest.mark.parametrize("content", [b"", MAGIC, b"{}", pickle.dumps(1), MAGIC + bytes(40)])
def test_other_files_are_refused(content):
    with pytest.raises(UnitError, match="no unit file"):
        decode_unit(content)
