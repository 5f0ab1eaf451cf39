"""Bad input: each fault is a reject with its remedy, and the rest of the run goes on."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from bad_files import BAD, DEGREES, PICTURE, Bad, giant_strips, write_photo
from PIL import Image
from rasterio.transform import Affine
from scenes import textured, write_picture, write_scene
from stub_networks import keep, use_stubs

from configs.load import validate
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.cli import main
from pipeline.manifest import ExitCode
from pipeline.run import run
from transforms.parquet import read_rows
from transforms.tables import REJECTED, TILES

DOCS = Path(__file__).resolve().parents[1] / "docs" / "inputs.md"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_code_version", "stubs")]

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def stubs():
    """Let networks do nothing."""
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch)
        yield


def process(
    folder: Path, scenes: Path | str, *, given: Any = (), read: Any = (), **sections: Any
) -> tuple[int, Rows, Rows]:
    """Run the main job on scenes; return its exit code, tiles and rejects."""
    content = {
        "input": {"scenes": [str(scenes)], **dict(given)},
        "read": {"core": 128, "halo": 32, **dict(read)},
        "arms": {"controls": [], "oracle": {"method": "none"}},
        "measure": {"stability": 0, "interval": {"replicates": 0}},
        "engine": {"batch_size": 1},
        "output": str(folder / "run"),
        **sections,
    }
    code = run(validate(RunConfig, content, source="test"))
    counts = manifest.read(folder / "run")["counts"]
    tiles, rejects = (list(read_rows(folder / "run", table)) for table in (TILES, REJECTED))
    assert counts["planned"] == len(tiles) + len(rejects)
    return code, tiles, rejects


def write_beside_a_good_one(bad: Bad, folder: Path) -> dict[str, Any]:
    """Write a good and a bad scene; return the settings of `input` that name them."""
    inside = folder / "in"
    inside.mkdir()
    camera = bad.settings.get("geometry") == "camera"
    if camera:
        good = write_photo(inside / "good.jpg", gps=True)
    else:
        good = write_picture(inside / "good.tif", PICTURE)
    filled = {
        name: [one.format(folder=folder) for one in value]
        if isinstance(value, list)
        else value.format(folder=folder)
        for name, value in bad.settings.items()
    }
    return {"scenes": [str(good), str(bad.write(inside))], **filled}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.cause)
def test_a_bad_scene_is_a_reject_and_the_good_one_is_measured(bad, tmp_path, capsys):
    given = write_beside_a_good_one(bad, tmp_path)
    code, tiles, [reject] = process(tmp_path, "", given=given)
    assert code == ExitCode.TOO_MANY_REJECTS
    assert {row["status"] for row in tiles} == {"measured"}
    assert {Path(row["scene"]).stem for row in tiles} == {"good"}
    assert len(tiles) == (1 if "aoi" in given else 4)
    assert (reject["stage"], reject["exception"]) == ("open", bad.exception)
    assert Path(reject["scene"]).stem == "bad"
    assert not (tmp_path / "in" / "pwned").exists()
    capsys.readouterr()
    assert main(shlex.split(reject["replay"])[1:]) == ExitCode.TOO_MANY_REJECTS
    printed = "".join(capsys.readouterr().out.split())
    assert "".join(reject["message"].split()) in printed
    assert f"| {bad.cause} | {documented(reject['message'], tmp_path)} |" in DOCS.read_text("utf-8")


def documented(message: str, folder: Path) -> str:
    """Return a message as the docs print it: with short names of files."""
    return message.replace(f"{folder}/in/", "night/").replace(f"{folder}/", "").replace("|", r"\|")


def test_the_docs_know_no_other_faults():
    table = re.search(r"\n\| cause \| message \|\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", DOCS.read_text())
    assert table is not None
    causes = [line.split("|")[1].strip() for line in table[1].splitlines()]
    assert causes == [bad.cause for bad in BAD]


def test_rejects_that_are_allowed_are_no_failure(tmp_path):
    bad = next(bad for bad in BAD if bad.cause == "empty")
    given = write_beside_a_good_one(bad, tmp_path)
    code, tiles, rejects = process(tmp_path, "", given=given, max_rejected=0.2)
    assert (code, len(tiles), len(rejects)) == (ExitCode.OK, 4, 1)


def test_a_run_of_bad_scenes_alone_ends_with_rejects(tmp_path):
    giant_strips(tmp_path)
    code, tiles, rejects = process(tmp_path, f"{tmp_path}/*.tif")
    assert (code, len(tiles), len(rejects)) == (ExitCode.TOO_MANY_REJECTS, 0, 1)


def test_a_file_that_grows_during_the_run_is_a_reject_from_then_on(tmp_path, capsys):
    """Someone is still copying: the networks of the first tile see the file grow."""
    write_picture(tmp_path / "good.tif", PICTURE)
    bad = write_picture(tmp_path / "bad.tif", textured(600, 600, seed=2))

    def grow(images):
        if bad.stat().st_size == size:
            with bad.open("ab") as file:
                file.write(b"more")
        return keep(images)

    size = bad.stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch, grow)
        code, tiles, rejects = process(tmp_path, f"{tmp_path}/*.tif")
    assert code == ExitCode.TOO_MANY_REJECTS
    assert sum(row["scene"] == "good.tif" for row in tiles) == 4
    assert len(tiles) + len(rejects) == 4 + 25
    assert len(rejects) >= 20
    assert {(row["scene"], row["stage"]) for row in rejects} == {("bad.tif", "read")}
    for row in rejects:
        assert f"it had {size} bytes and has {size + 4}" in row["message"]
        assert "still being written: wait until it is complete and run again" in row["message"]
    # It is complete now.
    assert main(shlex.split(rejects[0]["replay"])[1:]) == ExitCode.OK
    assert "measured" in capsys.readouterr().out


def test_a_damaged_block_costs_the_windows_that_need_it(tmp_path):
    path = write_picture(tmp_path / "bad.tif", textured(600, 600, seed=2))
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_2_2", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[start : start + 64] = b"\xff" * 64
    path.write_bytes(content)
    write_picture(tmp_path / "good.tif", PICTURE)
    code, tiles, rejects = process(tmp_path, f"{tmp_path}/*.tif")
    assert code == ExitCode.TOO_MANY_REJECTS
    # The block is a core, and its neighbours see it in their halos.
    assert (len(tiles), len(rejects)) == (4 + 16, 9)
    assert {(row["scene"], row["stage"]) for row in rejects} == {("bad.tif", "read")}
    assert all("Copy the file again if it is damaged" in row["message"] for row in rejects)


def odd_scenes(folder: Path) -> dict[str, int]:
    """Write scenes that are odd and not bad; return how many windows each has."""
    places = {
        "rotated": ("EPSG:32632", Affine(0.17, 0.1, 600_000, 0.1, -0.17, 5_800_000)),
        "antimeridian": ("EPSG:4326", Affine(1e-5, 0, 179.9995, 0, -1e-5, -17)),
        "polar": ("EPSG:3995", Affine(10, 0, -800, 0, -10, 900)),
        "degrees": ("EPSG:4326", DEGREES),
    }
    for name, (crs, transform) in places.items():
        write_picture(folder / f"{name}.tif", PICTURE, crs=crs, transform=transform)
    write_picture(folder / "black.tif", np.zeros_like(PICTURE))
    write_picture(folder / "row.tif", PICTURE[:1])
    write_picture(folder / "column.tif", PICTURE[:, :1])
    write_picture(folder / "pixel.tif", PICTURE[:1, :1])
    light = PICTURE.transpose(2, 0, 1).astype(np.float32)
    light[:, :70, :90] = np.nan
    write_scene(folder / "holes.tif", light)
    write_scene(folder / "nothing.tif", np.full_like(light, np.nan))
    names = (*places, "black", "holes", "nothing")
    return {"row": 2, "column": 2, "pixel": 1} | dict.fromkeys(names, 4)


def test_odd_scenes_are_no_bad_ones(tmp_path):
    wanted = odd_scenes(tmp_path)
    stretch = {"stretch": {"low": 0, "high": 255}}
    code, tiles, rejects = process(tmp_path, f"{tmp_path}/*.tif", read=stretch)
    assert (code, rejects) == (ExitCode.OK, [])
    count = {name: sum(row["scene"] == f"{name}.tif" for row in tiles) for name in wanted}
    assert count == wanted
    empty = {row["scene"] for row in tiles if row["status"] == "empty"}
    assert empty == {"nothing.tif"}
    holes = sum(row["valid_pixels"] for row in tiles if row["scene"] == "holes.tif")
    assert holes == 150 * 200 - 70 * 90


WIDEST = {"jpg": 65_500, "png": 100_000, "tif": 100_000}
"""Pixels; JPEG counts columns in 16 bits, and its library stops at 65,500."""


@pytest.mark.parametrize("kind", WIDEST)
def test_very_wide_pictures_run(kind, tmp_path):
    width = WIDEST[kind]
    picture = np.tile(textured(96, 500, seed=3), (1, width // 500, 1))
    if kind == "tif":
        write_picture(tmp_path / "wide.tif", picture, tiled=False)
    else:
        Image.fromarray(picture).save(tmp_path / f"wide.{kind}", quality=95)
    code, tiles, rejects = process(tmp_path, f"{tmp_path}/wide.*", read={"core": 8192, "halo": 0})
    assert (code, rejects) == (ExitCode.OK, [])
    assert sum(row["valid_pixels"] for row in tiles) == 96 * width
