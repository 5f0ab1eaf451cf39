"""Deblurred cores are written in the pixels of their scene, whole, once, and for nothing else."""

import dataclasses
from contextlib import closing
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import rasterio
from apache_beam.testing.util import assert_that, equal_to
from mosaics import (
    CORE,
    Outcome,
    brighten,
    configure,
    deblur_scene,
    picture,
    row_of,
    write_outcomes,
)
from scenes import write_scene

from configs.schema import RunConfig
from transforms.cores import (
    CoreReader,
    WriteCores,
    core_pixels,
)
from transforms.records import DeblurredTile, Rejected, Scene, Settled
from transforms.scenes import plan_scenes
from transforms.workplace import FOLDER, Workplace


def plan(config: RunConfig) -> Scene:
    [scene], rejected = plan_scenes(config)
    assert not rejected
    return scene


def written(config: RunConfig) -> list[str]:
    folder = Path(str(config.output)) / FOLDER / "units"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_core_holds_the_rendered_bands_of_its_pixels(tmp_path: Path) -> None:
    array = picture("uint16", bands=4)
    path = write_scene(tmp_path / "a.tif", array)
    stretch = {"stretch": {"low": 0, "high": 4080}, "bands": [4, 2, 1]}
    config = configure(path, tmp_path / "run", read=stretch)
    scene = plan(config)
    outcomes = write_outcomes(deblur_scene(scene, config, brighten), config)
    assert len(outcomes) == len(written(config)) == 12
    for outcome in outcomes:
        assert isinstance(outcome, DeblurredTile)
        core = outcome.tile.window.core
        with rasterio.open(Workplace.open(config.output).core_path(scene, core)) as dataset:
            got = dataset.read()
        rows = slice(core.row_off, core.row_off + core.height)
        columns = slice(core.col_off, core.col_off + core.width)
        before = array[[3, 1, 0], rows, columns].astype(int)
        assert got.dtype == np.uint16
        assert np.array_equal(got, before + 160)


@pytest.mark.parametrize("bands", [[1], [2], [1, 1, 1], [1, 1, 2], [3, 2, 1]])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_band_that_is_shown_twice_is_written_once(
    tmp_path: Path, bands: list[int], dtype: str
) -> None:
    array = picture(dtype)
    path = write_scene(tmp_path / "a.tif", array)
    stretch = None if dtype == "uint8" else {"low": 0, "high": 4080}
    config = configure(path, tmp_path / "run", read={"bands": bands, "stretch": stretch})
    first = deblur_scene(plan(config), config, brighten)[5]
    assert isinstance(first, DeblurredTile)
    with closing(CoreReader(config.input)) as reader:
        got = core_pixels(first, reader)
    step = 10 if dtype == "uint8" else 160
    distinct = [band - 1 for band in dict.fromkeys(bands)]
    wanted = array[distinct, CORE : 2 * CORE, CORE : 2 * CORE].astype(int) + step
    assert np.array_equal(got, wanted.clip(0, 255) if dtype == "uint8" else wanted)


def test_where_the_input_is_kept_nothing_is_written(tmp_path: Path) -> None:
    array = picture()
    array[:, :CORE, :CORE] = 0
    path = write_scene(tmp_path / "a.tif", array, nodata=0)
    config = configure(path, tmp_path / "run", read={"halo": 0})
    outcomes = deblur_scene(plan(config), config, brighten)
    outcomes[1] = changed(outcomes[1], skipped=True)
    outcomes[2] = changed(outcomes[2], fallback="energy")
    outcomes[3] = Rejected("a.tif:192,0", "a.tif", "deblur", "ValueError", "not finite")
    got = write_outcomes(outcomes, config)
    assert all(one is two for one, two in zip(got, outcomes, strict=True))
    assert len(written(config)) == 12 - 4


def changed(outcome: Outcome, **values: object) -> DeblurredTile:
    assert isinstance(outcome, DeblurredTile)
    return dataclasses.replace(outcome, **values)


def test_a_fault_of_the_scene_is_a_reject_of_the_tile(tmp_path: Path) -> None:
    array = picture("uint16")
    path = write_scene(tmp_path / "a.tif", array, compress=None, tiled=False)
    config = configure(path, tmp_path / "run", read={"stretch": {"low": 0, "high": 4080}})
    outcomes = deblur_scene(plan(config), config, brighten)
    path.write_bytes(path.read_bytes()[:60_000])
    got = write_outcomes(outcomes, config)
    rejects = [each for each in got if isinstance(each, Rejected)]
    assert len(rejects) == len(got) == 12
    assert {each.stage for each in rejects} == {"mosaic"}
    assert {each.key for each in rejects} == {
        outcome.tile.window.key for outcome in outcomes if isinstance(outcome, DeblurredTile)
    }
    assert all("wait until it is complete" in each.message for each in rejects)
    assert not written(config)


def test_storage_that_refuses_ends_the_run(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture())
    config = configure(path, tmp_path / "run")
    outcomes = deblur_scene(plan(config), config, brighten)
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="run"):
        write_outcomes(outcomes, config)


def test_a_core_is_replaced_by_the_same_bytes(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture("float32"))
    config = configure(path, tmp_path / "run", read={"stretch": {"low": -15, "high": 23}})
    scene = plan(config)
    outcomes = deblur_scene(scene, config, brighten)
    folder = Workplace.open(config.output).unit_folder(scene)
    write_outcomes(outcomes, config)
    before = {each: each.read_bytes() for each in folder.iterdir()}
    write_outcomes(outcomes, config)
    assert {each: each.read_bytes() for each in folder.iterdir()} == before


def keys_of(batch: list[DeblurredTile | Settled]) -> list[str]:
    return [each.tile.window.key for each in batch if isinstance(each, DeblurredTile)]


def test_beam_writes_what_the_loop_writes(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", picture())
    loop, job = (configure(path, tmp_path / name) for name in ("loop", "job"))
    outcomes = deblur_scene(plan(loop), loop, brighten)
    write_outcomes(outcomes, loop)
    batches = [outcomes[:5], outcomes[5:]]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        passed = pipeline | beam.Create(batches) | WriteCores(job.input, Workplace.open(job.output))
        assert_that(passed | beam.Map(keys_of), equal_to([keys_of(batch) for batch in batches]))
    assert written(loop) == written(job) != []
    for name in written(loop):
        one, two = (tmp_path / run / FOLDER / "units" / name for run in ("loop", "job"))
        assert one.read_bytes() == two.read_bytes()
    assert all(row_of(outcome) for outcome in outcomes)
    assert not list((tmp_path / "job" / FOLDER).rglob(".*"))
