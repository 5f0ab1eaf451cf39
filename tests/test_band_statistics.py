"""Statistics of bands are those of all pixels that have data, however these are read."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scenes import textured, write_scene

from transforms.band_statistics import BandStatistics, measure_bands, plan_reading

ANYTHING = hnp.arrays(
    np.float32,
    st.integers(0, 40),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, math.inf]),
)


@given(first=ANYTHING, second=ANYTHING)
def test_statistics_of_parts_add_up_to_those_of_the_whole(
    first: np.ndarray, second: np.ndarray
) -> None:
    whole = np.concatenate([first, second])
    added = BandStatistics.of(first, seen=len(first)) + BandStatistics.of(second, seen=len(second))
    finite = whole[np.isfinite(whole)].astype(np.float64)
    assert (added.seen, added.count) == (len(whole), len(finite))
    if len(finite):
        assert (added.minimum, added.maximum) == (finite.min(), finite.max())
        assert added.mean == pytest.approx(finite.mean(), abs=1e-6)
        assert math.sqrt(added.squares / added.count) == pytest.approx(finite.std(), abs=1e-3)


def test_nothing_has_no_statistics() -> None:
    assert BandStatistics().to_tags() == {}
    assert BandStatistics.of(np.full(3, np.nan), seen=3).to_tags() == {}


def test_gdal_finds_the_same_statistics(tmp_path: Path) -> None:
    array = textured(600, 700, 1).transpose(2, 0, 1).astype(np.int16) * 40 - 3000
    array[:, 100:300, 200:400] = -32768
    path = write_scene(tmp_path / "a.tif", array, nodata=-32768)
    with rasterio.open(path) as dataset:
        measured = measure_bands(dataset, plan_reading(dataset))
        for wanted, got in zip(dataset.stats(approx=False), measured, strict=True):
            tags = got.to_tags()
            assert float(tags["STATISTICS_MINIMUM"]) == wanted.min
            assert float(tags["STATISTICS_MAXIMUM"]) == wanted.max
            assert float(tags["STATISTICS_MEAN"]) == pytest.approx(wanted.mean)
            assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(wanted.std)
            assert float(tags["STATISTICS_VALID_PERCENT"]) == pytest.approx(90.48, abs=0.005)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((50, 70), {"tiled": False}),
        ((1, 5000), {"tiled": False}),
        ((5000, 1), {"tiled": False}),
        ((3000, 2500), {}),
        ((700, 2100), {"blockysize": 64}),
        ((1500, 40_000), {"tiled": False, "blockysize": 7}),
    ],
)
def test_windows_cover_a_raster_once_in_whole_blocks(
    tmp_path: Path, shape: tuple[int, int], layout: dict[str, object]
) -> None:
    path = write_scene(tmp_path / "a.tif", np.zeros((3, *shape), np.uint8), **layout)
    seen = np.zeros(shape, np.uint8)
    with rasterio.open(path) as dataset:
        block_height, block_width = dataset.block_shapes[0]
        for window in plan_reading(dataset):
            assert window.row_off % block_height == 0
            assert window.col_off % block_width == 0
            assert window.height * window.width * 3 <= 2**25
            rows, columns = window.toslices()
            seen[rows, columns] += 1
    assert (seen == 1).all()
