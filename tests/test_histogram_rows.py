"""Rows of histograms: what they say of known pictures, and that files keep them."""

import re

import apache_beam as beam
import duckdb
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import textured

from transforms.functional.blur import apply_kernel, motion_kernel
from transforms.functional.histograms import Histograms, measure_histograms
from transforms.functional.windows import Rectangle
from transforms.histogram_rows import (
    SceneHistograms,
    add_histograms,
    histogram_rows,
    sum_histograms,
)
from transforms.parquet import read_rows
from transforms.records import ARMS, Blur, Scene, Window
from transforms.tables import HISTOGRAMS
from transforms.write import Destination, write_table

KEY = ("a.tif", "reference", 7.0, 45.0)
SHARP = textured(192, 192, 4)


def measured(image: np.ndarray) -> Histograms:
    return measure_histograms(image, np.ones(image.shape[:2], bool), (slice(None), slice(None)))


def blurred(image: np.ndarray, length: float = 7) -> np.ndarray:
    return apply_kernel(image, motion_kernel(length, 45))


def sums_of(key=KEY, **arms: np.ndarray) -> SceneHistograms:
    names = tuple(arm for arm in ARMS if arm in arms)
    return SceneHistograms(key, {names: {arm: measured(arms[arm]) for arm in names}})


def row_of(sums: SceneHistograms, arm: str, band: str = "green") -> dict:
    [row] = [r for r in histogram_rows(sums).rows if (r["arm"], r["band"]) == (arm, band)]
    return row


def window(name: str = "a.tif", blur: Blur | None = None) -> Window:
    rectangle = Rectangle(0, 0, 64, 64)
    scene = Scene(name, name, 64, 64, (1, 2, 3), "uint8", None, (1, 0, 0, 0, 1, 0))
    return Window(scene, rectangle, rectangle, blur)


def test_a_row_has_exactly_the_columns_of_its_table():
    for row in histogram_rows(sums_of(before=SHARP)).rows:
        assert list(row) == [column.name for column in HISTOGRAMS.columns]


def test_there_is_a_row_for_every_band_and_arm():
    rows = histogram_rows(sums_of(after=SHARP, before=SHARP, reference=SHARP)).rows
    arms = ["reference", "before", "after"]
    expected = [(band, arm) for band in ("red", "green", "blue") for arm in arms]
    assert [(row["band"], row["arm"]) for row in rows] == expected
    assert {(row["scene"], row["blur_length"], row["blur_angle"]) for row in rows} == {
        ("a.tif", 7.0, 45.0)
    }


def test_an_arm_equal_to_before_has_distances_0_and_ratio_1():
    row = row_of(sums_of(before=SHARP, null=SHARP.copy(), reference=SHARP), "null")
    zero = ["w1_before", "w1_reference", "mean_shift", "std_shift", "gradient_w1_before"]
    assert [row[name] for name in zero] == [0] * 5
    assert set(row["spectrum_ratio_before"]) == set(row["spectrum_ratio_reference"]) == {1}


def test_blur_lowers_deviation_gradients_and_high_frequencies():
    row = row_of(sums_of(before=blurred(SHARP), reference=SHARP), "reference")
    soft = row_of(sums_of(before=blurred(SHARP), reference=SHARP), "before")
    assert row["std_shift"] > 0
    assert soft["gradient_steep"] < row["gradient_steep"]
    assert soft["gradient_w1_reference"] == row["gradient_w1_before"] > 1
    assert soft["spectrum_ratio_reference"][0] > soft["spectrum_ratio_reference"][16]
    assert min(row["spectrum_ratio_before"]) > 1


@pytest.mark.parametrize("shift", [-3, 5])
def test_a_shift_of_the_levels_is_signed_and_its_size_the_distance(shift):
    image = np.clip(SHARP, 10, 240)
    row = row_of(sums_of(before=image, after=(image.astype(int) + shift).astype(np.uint8)), "after")
    assert row["mean_shift"] == pytest.approx(shift)
    assert row["w1_before"] == pytest.approx(abs(shift))
    assert row["std_shift"] == 0
    assert row["gradient_w1_before"] == 0


def test_saturation_and_used_levels_are_those_of_the_arm():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, :3], image[:, 3] = 255, 100
    row = row_of(sums_of(before=image), "before")
    assert (row["saturated_low"], row["saturated_high"]) == (0.6, 0.3)
    assert (row["levels"], row["pixels"], row["gradient_pixels"]) == (3, 100, 64)
    assert row["comb_index"] == pytest.approx(253 / 254)


def test_what_is_not_known_is_null():
    row = row_of(sums_of(before=SHARP[:40, :40]), "before")
    unknown = [name for name, value in row.items() if value is None]
    assert unknown == [
        "power",
        "w1_reference",
        "gradient_w1_reference",
        "spectrum_ratio_before",
        "spectrum_ratio_reference",
    ]
    flat = row_of(sums_of(before=np.full((64, 64, 3), 9, np.uint8)), "before")
    assert flat["comb_index"] is None
    assert flat["power"] == [0] * 32
    assert flat["spectrum_ratio_before"] is None
    nothing = row_of(SceneHistograms(KEY, {("before",): {"before": Histograms()}}), "before")
    assert nothing["pixels"] == 0
    assert (nothing["saturated_low"], nothing["gradient_steep"], nothing["w1_before"]) == (
        None,
    ) * 3


def test_an_arm_is_compared_on_the_tiles_that_have_both():
    """The null control exists in one tile of two, and equals `before` there."""
    other = textured(192, 192, 5) // 2
    tiles = [sums_of(before=SHARP, null=SHARP), sums_of(before=other)]
    null = row_of(add_histograms(tiles), "null")
    assert (null["w1_before"], null["mean_shift"], null["gradient_w1_before"]) == (0, 0, 0)
    assert set(null["spectrum_ratio_before"]) == {1}
    assert null["pixels"] == SHARP.shape[0] * SHARP.shape[1]
    assert row_of(add_histograms(tiles), "before")["pixels"] == 2 * null["pixels"]


def test_arms_without_a_common_tile_are_not_compared():
    row = row_of(add_histograms([sums_of(after=SHARP), sums_of(before=SHARP)]), "after")
    assert (row["w1_before"], row["mean_shift"], row["spectrum_ratio_before"]) == (None,) * 3
    assert row["levels"] > 1


def test_windows_of_one_scene_and_blur_have_one_key():
    def key(*place):
        return SceneHistograms.of(window(*place), "none", {}).key

    assert key("a.tif") == ("a.tif", "none", None, None)
    assert key("a.tif", Blur(7, 45, severity=2)) == ("a.tif", "none", 7, 45)
    assert (
        len({key("a.tif"), key("b.tif"), key("a.tif", Blur(7, 45)), key("a.tif", Blur(7, 0))}) == 4
    )


def test_other_scenes_cannot_be_added():
    with pytest.raises(ValueError, match=r"b\.tif"):
        sums_of() + sums_of(("b.tif", "reference", None, None))


@settings(max_examples=15)
@given(st.permutations(range(6)), st.integers(1, 5))
def test_rows_do_not_depend_on_the_order_or_grouping_of_the_tiles(order, cut):
    tiles = [
        sums_of(before=textured(70, 70, seed), after=blurred(textured(70, 70, seed), 3))
        for seed in range(3)
    ]
    # An arm may be missing in a tile.
    tiles += [sums_of(before=textured(64, 64, 7)), *tiles[:2]]
    shuffled = [tiles[index] for index in order]
    halves = [add_histograms(shuffled[:cut]), add_histograms(shuffled[cut:])]
    assert histogram_rows(add_histograms(halves)).rows == histogram_rows(add_histograms(tiles)).rows


def test_sums_are_kept_apart_by_scene_and_blur():
    keys = [(name, "none", length, 0.0) for name in ("a.tif", "b.tif") for length in (4.0, 7.0)]
    sums = sum_histograms([sums_of(key, before=SHARP) for key in (*keys, *reversed(keys))])
    assert [part.key for part in sums] == keys
    assert {int(part.total("before").levels[0].sum()) for part in sums} == {2 * 192 * 192}


def test_beam_adds_them_up_by_key():
    keys = [("a.tif", "none", None, None), ("a.tif", "none", 7.0, 45.0)]
    parts = [sums_of(key, before=SHARP) for key in keys * 2]
    expected = sorted(str(histogram_rows(part).rows) for part in sum_histograms(parts))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = (
            pipeline
            | beam.Create([(part.key, part) for part in parts])
            | beam.CombinePerKey(add_histograms)
            | beam.Values()
            | beam.Map(histogram_rows)
            | beam.Map(text_of)
        )
        assert_that(rows, equal_to(expected))


def text_of(rows) -> str:
    return str(rows.rows)


def test_files_keep_the_rows_whatever_their_order(tmp_path):
    sums = [
        sums_of(before=blurred(SHARP), after=SHARP, reference=SHARP),
        sums_of(("a.tif", "reference", None, None), before=SHARP[:40, :40]),
    ]
    written = [
        write_table(order, HISTOGRAMS, histogram_rows, Destination(tmp_path / name, "0123456789ab"))
        for name, order in (("straight", sums), ("back", sums[::-1]))
    ]
    assert written[0] == written[1]
    rows = [row for part in sums for row in histogram_rows(part).rows]
    kept = list(read_rows(tmp_path / "straight", HISTOGRAMS))
    assert sorted(map(str, kept)) == sorted(map(str, rows))
    # Blurs rise, what has none comes last; then bands and arms by name.
    first, last = kept[0], kept[-1]
    assert (first["blur_length"], first["band"], first["arm"]) == (7, "blue", "after")
    assert (last["blur_length"], last["band"], last["power"]) == (None, "red", None)


def test_duckdb_unnests_the_levels(tmp_path):
    sums = sums_of(before=SHARP)
    write_table([sums], HISTOGRAMS, histogram_rows, Destination(tmp_path, "0123456789ab"))
    query = (
        f"select sum(n) from (select unnest(counts) as n from '{tmp_path}/histograms/*.parquet' "
        "where band = 'red')"
    )
    assert duckdb.sql(query).fetchall() == [(192 * 192,)]


def test_the_words_of_a_truth_do_not_occur():
    said = f"{histogram_rows(sums_of(before=SHARP, after=SHARP)).rows} {HISTOGRAMS}"
    assert re.findall("recall|precision|gain", said) == []
