"""A virtual raster means what its scene means, and each of its pixels comes from one file."""

import os
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given
from hypothesis import strategies as st
from scenes import CRS, textured, write_picture, write_scene

from transforms.functional.windows import Rectangle, plan_cores
from transforms.overlay import (
    BAND,
    Piece,
    Source,
    add_crs,
    add_tags,
    describe,
    overlay,
)

HEIGHT, WIDTH, CORE = 90, 130, 32
SCENE = textured(HEIGHT, WIDTH, 1)
CORES = list(plan_cores(height=HEIGHT, width=WIDTH, core=CORE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of four bands, and a file per core that holds bands 3 and 1, inverted."""
    folder = tmp_path_factory.mktemp("overlay")
    array = np.concatenate([SCENE, SCENE[..., :1]], axis=2).transpose(2, 0, 1)
    write_scene(folder / "a.tif", array)
    for number, core in enumerate(CORES):
        rows = slice(core.row_off, core.row_off + core.height)
        columns = slice(core.col_off, core.col_off + core.width)
        write_scene(folder / f"{number}.tif", 255 - array[[2, 0], rows, columns], tiled=False)
    return folder


def read(root: Element, path: Path) -> np.ndarray:
    path.write_bytes(tostring(root))
    with rasterio.open(path) as dataset:
        return dataset.read()


def area_of(source: Element) -> int:
    place = source.find("DstRect")
    assert place is not None
    return int(place.attrib["xSize"]) * int(place.attrib["ySize"])


@given(chosen=st.sets(st.sampled_from(range(len(CORES)))))
def test_every_pixel_comes_from_its_piece(folder: Path, chosen: set[int]) -> None:
    pieces = [
        Piece(core, folder / f"{number}.tif" if number in chosen else None)
        for number, core in enumerate(CORES)
    ]
    with rasterio.open(folder / "a.tif") as dataset:
        root = describe(dataset)
        overlay(root, Source.of(dataset), (3, 1), pieces)
        wanted = dataset.read()
    for number in chosen:
        core = CORES[number]
        rows = slice(core.row_off, core.row_off + core.height)
        columns = slice(core.col_off, core.col_off + core.width)
        wanted[np.ix_([0, 2], range(HEIGHT)[rows], range(WIDTH)[columns])] ^= 255
    assert np.array_equal(read(root, folder / "a.vrt"), wanted)
    # Whoever asks for a pixel opens one file, and neighbours that show the scene are one source.
    sources = [band.findall("SimpleSource") for band in root.findall(BAND)]
    assert len(sources[1]) == len(sources[3]) == 1
    assert sum(area_of(source) for source in sources[0]) == HEIGHT * WIDTH
    assert len(chosen) <= len(sources[0]) <= len(CORES)
    if not chosen:
        assert len(sources[0]) == len({core.row_off for core in CORES})


def test_a_virtual_raster_works_from_any_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with rasterio.open("a.tif") as dataset:
        root = describe(dataset)
        overlay(root, Source.of(dataset), (), [])
        wanted = dataset.read()
    monkeypatch.chdir(os.sep)
    assert np.array_equal(read(root, tmp_path / "b.vrt"), wanted)


def test_old_statistics_and_how_a_file_is_stored_are_left_out(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", SCENE)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, STATISTICS_MEAN="5", sensor="x")
    with rasterio.open(path) as dataset:
        text = tostring(describe(dataset), encoding="unicode")
    assert "STATISTICS" not in text
    assert "IMAGE_STRUCTURE" not in text
    assert "sensor" in text


def test_the_sources_of_a_vrt_are_not_those_of_its_copy(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", SCENE)
    rasterio.shutil.copy(path, tmp_path / "a.vrt", driver="VRT")
    with rasterio.open(tmp_path / "a.vrt") as dataset:
        root = describe(dataset)
        overlay(root, Source.of(dataset), (), [])
    names = {source.text for source in root.iter("SourceFilename")}
    assert names == {str(tmp_path / "a.vrt")}


def test_tags_replace_those_of_the_same_name(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", SCENE)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(one="old", two="kept <&> so")
    with rasterio.open(path) as dataset:
        root = describe(dataset)
        overlay(root, Source.of(dataset), (), [])
    add_tags(root, {"one": "new", "three": '"é" <&>'})
    add_tags(root.findall(BAND)[1], {"band": "2"})
    read(root, tmp_path / "b.vrt")
    with rasterio.open(tmp_path / "b.vrt") as dataset:
        told = dataset.tags()
        assert (told["one"], told["two"], told["three"]) == ("new", "kept <&> so", '"é" <&>')
        assert dataset.tags(2) == {"band": "2"}


@pytest.mark.parametrize(("crs", "wanted"), [(None, "EPSG:3857"), (CRS, CRS)])
def test_a_crs_is_declared_where_there_is_none(
    tmp_path: Path, crs: str | None, wanted: str
) -> None:
    place = {} if crs else {"transform": rasterio.Affine(1, 0, 5, 0, -1, 9)}
    path = write_picture(tmp_path / "a.tif", SCENE, crs=crs, **place)
    with rasterio.open(path) as dataset:
        root = describe(dataset)
        overlay(root, Source.of(dataset), (), [Piece(Rectangle(0, 0, WIDTH, HEIGHT))])
    add_crs(root, "EPSG:3857")
    read(root, tmp_path / "b.vrt")
    with rasterio.open(tmp_path / "b.vrt") as dataset:
        assert dataset.crs == wanted
