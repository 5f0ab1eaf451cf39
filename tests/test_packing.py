"""What waits is packed, and comes back as it was."""

import pickle

import apache_beam as beam
import numpy as np
from apache_beam.testing.util import assert_that, equal_to
from made_rows import make_scene, make_tile_rows

from transforms.group_packed import GroupPacked
from transforms.packing import pack, unpack


def test_what_was_packed_comes_back():
    content = {"place": (1, 2.5), "values": np.arange(6).reshape(2, 3)}
    back = unpack(pack(content))
    assert back["place"] == content["place"]
    np.testing.assert_array_equal(back["values"], content["values"])


def test_a_row_travels_smaller_than_its_fields_and_stays_itself():
    [row] = make_tile_rows(make_scene(), 1)
    travelling = pickle.dumps(row)
    assert len(travelling) < len(pickle.dumps(vars(row)))
    back = pickle.loads(travelling)
    assert type(back) is type(row)
    assert (back.window, back.status, back.truth) == (row.window, row.status, row.truth)
    mine, theirs = (each.arm("after").sightings.detections for each in (row, back))
    np.testing.assert_array_equal(mine.corners, theirs.corners)


def test_packed_values_are_grouped_as_others():
    pairs = [("a", 1), ("b", 2), ("a", 3)]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        grouped = pipeline | beam.Create(pairs) | GroupPacked(str)
        known = grouped | beam.MapTuple(lambda key, values: (key, sorted(values)))
        assert_that(known, equal_to([("a", [1, 3]), ("b", [2])]))
