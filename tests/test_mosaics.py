"""Mosaics of whole runs: written by the main job as by the loop, found by who comes after."""

import hashlib
import json
from dataclasses import dataclass

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
from scenes import textured, write_picture, write_scene
from small_runs import configure, tables
from stub_networks import keep, use_stubs
from upath import UPath

from pipeline import manifest
from pipeline.direct import Networks, run_direct
from pipeline.planning import plan_run
from pipeline.run import replay, run
from transforms.functional.render import render_scene
from transforms.gdal import open_dataset
from transforms.mosaic_items import Provenance
from transforms.parquet import read_rows
from transforms.records import Rejected
from transforms.tables import REJECTED, SUMMARY, TILES
from transforms.write_items import publish_items, write_item

SIDE = 300


def settings(output, scenes, **sections):
    """Return a small run that writes mosaics: nine cores for each scene of 300 px."""
    content = {
        "read": {"core": 128, "halo": 32},
        "mosaic": {"write": True},
        "measure": {"stability": 0, "interval": {"replicates": 0}},
        "arms": {"controls": []},
    }
    return configure(output, scenes, **content | sections)


def brighten(images):
    """Add five levels where there is room: nothing that a lock would leave."""
    return np.minimum(images, 250) + np.uint8(5)


def files(output):
    """Return the digests of all mosaics and their items."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((output / "mosaics").iterdir())
    }


@pytest.fixture
def scene(tmp_path):
    return write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, 1))


@pytest.mark.usefixtures("one_code_version")
def test_beam_and_the_loop_write_the_same_mosaics(tmp_path, scene, monkeypatch):
    use_stubs(monkeypatch, deblur=brighten)
    config = settings(tmp_path / "beam", scene, deblur={"lock": False})
    assert run(config) == 0
    plan = plan_run(config.model_copy(update={"output": tmp_path / "loop"}))
    run_direct(plan, Networks(brighten, Networks.of(plan).find))
    assert files(tmp_path / "beam") == files(tmp_path / "loop")
    assert tables(tmp_path / "beam") == tables(tmp_path / "loop")
    with rasterio.open(tmp_path / "beam" / "mosaics" / "a.tif.deblurred.tif") as mosaic:
        got = mosaic.read().transpose(1, 2, 0)
    np.testing.assert_array_equal(got, brighten(textured(SIDE, SIDE, 1)))
    assert not list((tmp_path / "beam" / "_work").rglob("*.tif"))


@pytest.mark.slow
@pytest.mark.usefixtures("one_code_version")
def test_two_processes_write_what_one_writes(tmp_path):
    image = render_scene(seed=3, height=SIDE, width=SIDE, gsd=0.15).image
    scene = write_picture(tmp_path / "a.tif", image)
    assert run(settings(tmp_path / "one", scene)) == 0
    assert run(settings(tmp_path / "two", scene, engine={"workers": 2})) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.usefixtures("one_code_version")
def test_an_unfinished_run_is_done_again_and_a_finished_one_is_not(tmp_path, scene, monkeypatch):
    use_stubs(monkeypatch)
    config = settings(tmp_path / "run", scene)
    assert run(config) == 0
    assert run(config) == 99
    before = files(tmp_path / "run")
    (tmp_path / "run" / "mosaics" / "a.tif.status.tif").unlink()
    assert run(config) == 0
    assert files(tmp_path / "run") == before


def test_the_manifest_names_every_file_with_its_digest(tmp_path, scene, monkeypatch):
    use_stubs(monkeypatch)
    assert run(settings(tmp_path / "run", scene)) == 0
    known = manifest.read(tmp_path / "run")["mosaics"]
    assert [each["path"] for each in known] == [
        "mosaics/a.tif.deblurred.tif",
        "mosaics/a.tif.status.tif",
    ]
    for each in known:
        content = (tmp_path / "run" / each["path"]).read_bytes()
        assert each["sha256"] == hashlib.sha256(content).hexdigest()
        assert each["size"] == len(content)
        assert each["cores"]["deblurred"] == 9


def test_items_lead_to_the_files_and_the_table_holds_them(tmp_path, monkeypatch):
    use_stubs(monkeypatch)
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}.tif", textured(SIDE, SIDE, 1))
    write_picture(tmp_path / "plain.tif", textured(SIDE, SIDE, 1), crs=None)
    assert run(settings(tmp_path / "run", tmp_path / "*.tif")) == 0
    folder = tmp_path / "run" / "mosaics"
    collection = pystac.Collection.from_file(str(folder / "collection.json"))
    items = list(collection.get_items())
    assert [item.id for item in items] == ["a.tif", "b.tif", "plain.tif"]
    for item in items:
        with open_dataset(item.assets["data"].get_absolute_href()) as mosaic:
            assert mosaic.shape == tuple(item.properties["proj:shape"])
    # A plain picture lies nowhere, and GeoParquet is of places.
    frame = geopandas.read_parquet(folder / "items.parquet")
    assert sorted(frame["id"]) == ["a.tif", "b.tif"]
    with rasterio.open(tmp_path / "a.tif") as source:
        wanted = geopandas.GeoSeries.from_xy(*zip(source.xy(150, 150), strict=True), crs=source.crs)
    assert frame.geometry.contains(wanted.to_crs(4326).iloc[0]).all()


@pytest.mark.slow
def test_mosaics_of_scenes_that_are_gone_go_too(tmp_path, scene, monkeypatch):
    use_stubs(monkeypatch)
    write_picture(tmp_path / "b.tif", textured(SIDE, SIDE, 2))
    assert run(settings(tmp_path / "run", tmp_path / "*.tif")) == 0
    (tmp_path / "b.tif").unlink()
    assert run(settings(tmp_path / "run", tmp_path / "*.tif"), force=True) == 0
    assert sorted(files(tmp_path / "run")) == [
        "a.tif.deblurred.tif",
        "a.tif.item.json",
        "a.tif.status.tif",
        "collection.json",
        "items.parquet",
    ]


def test_a_run_without_mosaics_leaves_none_of_an_earlier_one(tmp_path, scene, monkeypatch):
    use_stubs(monkeypatch)
    assert run(settings(tmp_path / "run", scene)) == 0
    config = settings(tmp_path / "run", scene, mosaic={"write": False})
    assert run(config, force=True) == 0
    assert files(tmp_path / "run") == {}


def test_a_tile_that_is_not_believed_keeps_its_input_and_is_counted(tmp_path, scene, monkeypatch):
    def spoil(images):
        """Break the tiles in the first row of cores: they alone are 160 px high."""
        return 255 - images if images.shape[1] == 160 else images

    use_stubs(monkeypatch, deblur=spoil)
    assert run(settings(tmp_path / "run", scene)) == 0
    folder = tmp_path / "run" / "mosaics"
    with (
        rasterio.open(folder / "a.tif.deblurred.tif") as mosaic,
        rasterio.open(scene) as source,
        rasterio.open(folder / "a.tif.status.tif") as status,
    ):
        np.testing.assert_array_equal(mosaic.read(), source.read())
        assert (status.read(1)[:128] == 3).all()
        assert (status.read(1)[128:] == 1).all()
    rows = list(read_rows(tmp_path / "run", TILES))
    assert sum(row["fallback"] is not None for row in rows) == 3
    assert manifest.read(tmp_path / "run")["mosaics"][0]["cores"]["fallback"] == 3
    counts = {row["metric"]: row["value"] for row in read_rows(tmp_path / "run", SUMMARY)}
    assert counts["tiles_fallback"] == 3


def test_a_scene_of_which_no_mosaic_can_be_made_is_a_reject_and_the_others_have_theirs(
    tmp_path, scene, monkeypatch
):
    use_stubs(monkeypatch)
    # Two types in one file: a VRT may have that, a GeoTIFF not. The rendered bands are of one.
    other = textured(SIDE, SIDE, 2).transpose(2, 0, 1)
    write_scene(tmp_path / "rgb.tiff", other, photometric="rgb")
    write_scene(tmp_path / "height.tiff", other[:1].astype(np.float32))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}">'
        f"<ColorInterp>{colour}</ColorInterp><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for number, (kind, colour, name, band) in enumerate(
            [
                ("Byte", "Red", "rgb.tiff", 1),
                ("Byte", "Green", "rgb.tiff", 2),
                ("Byte", "Blue", "rgb.tiff", 3),
                ("Float32", "Undefined", "height.tiff", 1),
            ],
            start=1,
        )
    )
    size = f'rasterXSize="{SIDE}" rasterYSize="{SIDE}"'
    (tmp_path / "mixed.vrt").write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
    config = settings(tmp_path / "run", scene)
    scenes = (str(scene), str(tmp_path / "mixed.vrt"))
    config = config.model_copy(update={"input": config.input.model_copy(update={"scenes": scenes})})
    assert run(config) == 3
    [reject] = read_rows(tmp_path / "run", REJECTED)
    assert (reject["key"], reject["stage"]) == ("mixed.vrt", "mosaic")
    assert "leave mosaic.write out" in reject["message"]
    with pytest.raises(ValueError, match="is a scene without a mosaic, and no window"):
        replay(tmp_path / "run", "mixed.vrt")
    assert replay(tmp_path / "run", "mixed.vrt:0,0") == 0
    assert not list((tmp_path / "run" / "_work").rglob("*.tif"))
    assert manifest.read(tmp_path / "run")["counts"]["unmade_mosaics"] == 1
    assert (tmp_path / "run" / "mosaics" / "a.tif.deblurred.tif").exists()
    assert not (tmp_path / "run" / "mosaics" / "mixed.vrt.deblurred.tif").exists()


def test_an_item_of_an_earlier_run_goes_with_its_mosaic(tmp_path):
    lost = Rejected("a.tif", "a.tif", "mosaic", "ValueError", "")
    output = UPath(tmp_path)
    (tmp_path / "mosaics").mkdir()
    stale = tmp_path / "mosaics" / "a.tif.item.json"
    stale.write_text("{}")
    assert write_item(lost, output, Provenance("0", "0", "")) is lost
    assert not stale.exists()
    assert publish_items(output, ["a.tif"], Provenance("0", "0", "Deblurred.")) == []
    assert not (tmp_path / "mosaics" / "items.parquet").exists()


@dataclass
class Uneven:
    """A network that lifts every second tile that it sees by four levels."""

    seen: int = 0

    def __call__(self, images):
        """Restore one by one."""
        results = []
        for image in images:
            self.seen += 1
            results.append(np.minimum(image, 251) + np.uint8(4 * (self.seen % 2)))
        return np.stack(results)


@pytest.mark.slow
def test_tiles_that_show_where_they_meet_fail_the_gate(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    noise = np.clip(rng.normal(120, 2, (640, 640, 3)), 1, 250).astype(np.uint8)
    scene = write_picture(tmp_path / "flat.tif", noise)
    content = {"deblur": {"lock": False}, "mosaic": {"write": False}}
    use_stubs(monkeypatch, deblur=Uneven())
    assert run(settings(tmp_path / "run", scene, **content)) == 4
    assert "Tiles show where they meet" in capsys.readouterr().err.replace("\n", " ")
    assert manifest.read(tmp_path / "run")["state"] == "failed"
    [row] = [
        row
        for row in read_rows(tmp_path / "run", SUMMARY)
        if row["metric"] == "seam_excess" and row["stratum"] == "all"
    ]
    assert row["value"] > 1.1
    use_stubs(monkeypatch, deblur=keep)
    assert run(settings(tmp_path / "kept", scene, **content)) == 0


@pytest.mark.slow
def test_mosaics_lie_on_a_store(tmp_path, store, monkeypatch):
    use_stubs(monkeypatch, deblur=brighten)
    local = write_picture(tmp_path / "a.tif", textured(SIDE, SIDE, 1))
    store.put("in/a.tif", local)
    assert run(settings(f"{store.url}/out", f"{store.url}/in/*.tif", deblur={"lock": False})) == 0
    keys = [key for key in store.list_keys() if key.startswith("out/")]
    assert not [key for key in keys if "/_work/" in key and not key.endswith(".unit")]
    target = tmp_path / "got.tif"
    target.write_bytes(store.get("out/mosaics/a.tif.deblurred.tif"))
    with rasterio.open(target) as mosaic:
        got = mosaic.read().transpose(1, 2, 0)
    np.testing.assert_array_equal(got, brighten(textured(SIDE, SIDE, 1)))
    item = json.loads(store.get("out/mosaics/a.tif.item.json"))
    assert [link["href"] for link in item["links"] if link["rel"] == "via"] == [
        f"{store.url}/in/a.tif"
    ]
    known = json.loads(store.get("out/run.json"))
    assert known["reads"]["mosaics"]["requests"] > 0
    assert known["mosaics"][0]["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
