"""Every scene has one mosaic: as Beam makes it, as the loop does, in a folder or on a store."""

import dataclasses
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import rasterio
from apache_beam.testing.util import assert_that, equal_to
from mosaics import (
    CORE,
    HEIGHT,
    TAGS,
    WIDTH,
    Outcome,
    brighten,
    configure,
    deblur_scene,
    make_mosaic,
    make_mosaics,
    picture,
    row_of,
    write_outcomes,
)
from scenes import write_scene
from stores import Store

from configs.schema import RunConfig
from transforms.assemble import (
    AssembleMosaics,
    assemble_mosaics,
    clean_cores,
    drop_stale_mosaics,
    mosaic_tags,
)
from transforms.functional.windows import plan_cores
from transforms.mosaic_status import CLASSES, COLOURS, VALUES, Status
from transforms.records import DeblurredTile, Rejected, Scene, Settled
from transforms.scene_mosaic import Mosaic
from transforms.scenes import plan_scenes
from transforms.workplace import FOLDER, Workplace

LOST = "rejected"


def settle(config: RunConfig, fates: dict[int, Status]) -> tuple[Scene, list[Settled]]:
    """Deblur a scene, and let windows, by number, end otherwise than deblurred."""
    [scene], _ = plan_scenes(config)
    outcomes: list[Outcome] = []
    for number, outcome in enumerate(deblur_scene(scene, config, brighten)):
        assert isinstance(outcome, DeblurredTile)
        fate = fates.get(number, "deblurred")
        if fate == "skipped":
            outcome = dataclasses.replace(outcome, skipped=True)
        if fate == "fallback":
            outcome = dataclasses.replace(outcome, fallback="flat")
        outcomes.append(outcome)
    settled = [row_of(outcome) for outcome in write_outcomes(outcomes, config)]
    for number, fate in fates.items():
        key = settled[number].window.key
        if fate == LOST:  # by a later stage, when its core was written already
            settled[number] = Rejected(key, scene.name, "detect", "RuntimeError", "no")
    return scene, settled


FATES: dict[int, Status] = {1: "skipped", 4: "fallback", 7: "rejected", 11: "fallback"}


@pytest.mark.parametrize("origin", [(0, 0), (32, 0)])
def test_the_status_says_of_every_pixel_what_became_of_its_core(
    tmp_path: Path, origin: tuple[int, int]
) -> None:
    array = picture().clip(0, 240)
    path = write_scene(tmp_path / "a.tif", array, photometric="rgb")
    config = configure(path, tmp_path / "run", read={"origin": origin})
    scene, settled = settle(config, FATES)
    # The last window is not among the results: the area of interest may leave some out.
    [mosaic] = assemble_mosaics(settled[:-1], [scene], config, TAGS, Workplace.open(config.output))
    assert isinstance(mosaic, Mosaic)
    cores = list(plan_cores(height=HEIGHT, width=WIDTH, core=CORE, origin=origin))
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    changed = array.copy()
    for number, core in enumerate(cores[:-1]):
        rows = slice(core.row_off, core.row_off + core.height)
        columns = slice(core.col_off, core.col_off + core.width)
        fate = FATES.get(number, "deblurred")
        wanted[rows, columns] = VALUES[fate]
        changed[:, rows, columns] += 10 if fate == "deblurred" else 0
    with rasterio.open(tmp_path / "run" / mosaic.status.path) as status:
        assert np.array_equal(status.read(1), wanted)
        assert (status.nodata, status.dtypes) == (0, ("uint8",))
        with rasterio.open(path) as dataset:
            assert (status.crs, status.transform) == (dataset.crs, dataset.transform)
        told = status.tags(1)
        assert {told[f"STATUS_{value}"] for value in CLASSES} == {
            text for _, text in CLASSES.values()
        }
        assert [status.colormap(1)[value][:3] for value in CLASSES] == list(COLOURS)
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as data:
        assert np.array_equal(data.read(), changed)
    assert mosaic.counts == {
        status: sum(FATES.get(n, "deblurred") == status for n in range(len(cores) - 1))
        + (status == "empty")
        for status in VALUES
    }


def digests(mosaic: Mosaic | Rejected) -> tuple[str, ...]:
    if isinstance(mosaic, Rejected):
        return mosaic.key, mosaic.stage
    return mosaic.name, mosaic.data.sha256, mosaic.status.sha256


def test_beam_makes_what_the_loop_makes(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_scene(tmp_path / name, picture(seed=ord(name[0])), photometric="rgb")
    config = configure(tmp_path / "*.tif", tmp_path / "run")
    scenes, _ = plan_scenes(config)
    outcomes = [each for scene in scenes for each in deblur_scene(scene, config, brighten)]
    settled = [row_of(each) for each in write_outcomes(outcomes, config)]
    unopened = Rejected("c.tif", "c.tif", "open", "SceneError", "no")
    gone = dataclasses.replace(scenes[1], name="gone.tif", path=str(tmp_path / "gone.tif"))
    scenes.append(gone)
    wanted = assemble_mosaics(
        [*settled, unopened], scenes, config, TAGS, Workplace.open(config.output)
    )
    assert [type(each) for each in wanted] == [Mosaic, Mosaic, Rejected]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = pipeline | beam.Create([*reversed(settled), unopened])
        mosaics = rows | AssembleMosaics(scenes, config, TAGS, Workplace.open(config.output))
        assert_that(mosaics | beam.Map(digests), equal_to([digests(each) for each in wanted]))


def test_an_assembly_that_is_done_again_gives_the_same(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(), photometric="rgb")
    config = configure(path, tmp_path / "run")
    scene, settled = settle(config, {})
    first = assemble_mosaics(settled, [scene], config, TAGS, Workplace.open(config.output))
    assert assemble_mosaics(settled, [scene], config, TAGS, Workplace.open(config.output)) == first


def test_a_deblurred_core_without_its_file_ends_the_run(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(), photometric="rgb")
    config = configure(path, tmp_path / "run")
    scene, settled = settle(config, {})
    clean_cores(Workplace.open(config.output))
    with pytest.raises(FileNotFoundError, match=r"0_0\.tif is gone: run again"):
        assemble_mosaics(settled, [scene], config, TAGS, Workplace.open(config.output))


def test_a_scene_that_changed_has_no_mosaic_and_no_old_one(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(), photometric="rgb")
    config = configure(path, tmp_path / "run")
    scene, settled = settle(config, {})
    assert isinstance(
        assemble_mosaics(settled, [scene], config, TAGS, Workplace.open(config.output))[0], Mosaic
    )
    write_scene(path, picture(seed=9), photometric="rgb", compress=None)
    [mosaic] = assemble_mosaics(settled, [scene], config, TAGS, Workplace.open(config.output))
    assert isinstance(mosaic, Rejected)
    assert "changed since it was planned" in mosaic.message
    assert not list((tmp_path / "run" / "mosaics").iterdir())


def test_a_fault_where_nothing_was_deblurred_is_a_reject_too(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture(), compress=None, tiled=False)
    config = configure(path, tmp_path / "run")
    [scene], _ = plan_scenes(config)
    path.write_bytes(path.read_bytes()[:60_000])
    scene = dataclasses.replace(scene, size=None, version=None)
    [mosaic] = assemble_mosaics([], [scene], config, TAGS, Workplace.open(config.output))
    assert isinstance(mosaic, Rejected)
    assert (mosaic.stage, mosaic.exception) == ("mosaic", "RasterioIOError")
    assert "a.tif, band 1" in mosaic.message


def test_cores_and_mosaics_of_other_scenes_go_and_all_else_stays(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_scene(tmp_path / name, picture(), photometric="rgb")
    config = configure(tmp_path / "*.tif", tmp_path / "run")
    make_mosaics(config, brighten)
    (tmp_path / "run" / "mosaics" / "mine.tif").touch()
    scenes, _ = plan_scenes(config)
    drop_stale_mosaics(config.output, scenes[:1])
    clean_cores(Workplace.open(config.output))
    assert sorted(path.name for path in (tmp_path / "run" / "mosaics").iterdir()) == [
        "a.tif.deblurred.tif",
        "a.tif.status.tif",
        "mine.tif",
    ]
    assert not list((tmp_path / "run" / FOLDER / "units").glob("*/*"))
    clean_cores(Workplace.open(config.output))


def test_a_scene_of_any_name_stays_inside_the_output(tmp_path: Path) -> None:
    for folder in ("1", "2 3"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        write_scene(tmp_path / "in" / folder / "a é.tif", picture(), photometric="rgb")
    config = configure(tmp_path / "in" / "**" / "*.tif", tmp_path / "run")
    mosaics = make_mosaics(config, brighten)
    assert [digests(each)[0] for each in mosaics] == [
        "1~2Fa~20~C3~A9.tif",
        "2~203~2Fa~20~C3~A9.tif",
    ]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {FOLDER, "mosaics"}


def test_tags_say_what_was_done() -> None:
    config = RunConfig(deblur={"weights": "/somewhere/net.safetensors", "lock": False})
    tags = mosaic_tags(config, version="1.2", run_id="abc", sha256="0f" * 32)
    assert tags["AERIAL_DEBLUR_WEIGHTS"] == "net.safetensors"
    assert tags["AERIAL_DEBLUR_WEIGHTS_SHA256"] == "0f" * 32
    assert tags["AERIAL_DEBLUR_LOCK"] == "none"
    assert tags["TIFFTAG_SOFTWARE"] == "aerial-deblur 1.2"
    assert all(text in tags["AERIAL_DEBLUR_STATUS"] for _, text in CLASSES.values())
    assert not any("/" in value for value in tags.values())


@pytest.mark.slow
def test_a_mosaic_on_a_store_is_that_of_a_folder(tmp_path: Path, store: Store) -> None:
    path = write_scene(tmp_path / "a.tif", picture("uint16"), photometric="rgb")
    remote = store.put("in/a.tif", path)
    stretch = {"stretch": {"low": 0, "high": 4080}}
    here = make_mosaic(configure(path, tmp_path / "run", read=stretch), brighten)
    config = configure(remote, tmp_path, read=stretch)
    config = RunConfig(**config.model_dump() | {"output": f"{store.url}/out"})
    there = make_mosaic(config, brighten)
    assert (there.data, there.status) == (here.data, here.status)
    assert store.get(f"out/{there.data.path}") == (tmp_path / "run" / here.data.path).read_bytes()
    assert len([key for key in store.list_keys() if key.startswith(f"out/{FOLDER}/units")]) == 12
    clean_cores(Workplace.open(config.output))
    drop_stale_mosaics(config.output, [there.scene])
    assert [key for key in store.list_keys() if key.startswith("out")] == [
        f"out/{there.data.path}",
        f"out/{there.status.path}",
    ]
    drop_stale_mosaics(config.output, [])
    assert not [key for key in store.list_keys() if key.startswith("out")]
