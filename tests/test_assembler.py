"""Mosaics made in a process of their own: the same files, and a bad scene costs only its own."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from injected import inject
from mosaics import TAGS, brighten, configure, deblur_scene, picture, row_of, write_outcomes
from scenes import write_scene

from configs.operations import EngineConfig
from configs.schema import RunConfig
from transforms.assemble import clean_cores
from transforms.assembler import IsolatedAssembler, PlainAssembler, open_assembler
from transforms.mosaic_status import Receipt, receipts_of
from transforms.records import Rejected, Scene
from transforms.scene_mosaic import Mosaic
from transforms.scenes import plan_scenes
from transforms.workplace import Workplace


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """The settings of a run over two scenes."""
    for seed, name in enumerate(["a.tif", "b.tif"]):
        write_scene(tmp_path / name, picture(seed=seed), photometric="rgb")
    return configure(tmp_path / "*.tif", tmp_path / "run")


@pytest.fixture
def receipts(config: RunConfig) -> Mapping[str, list[Receipt]]:
    """The receipts of each scene, whose cores are on storage."""
    scenes, _ = plan_scenes(config)
    found = {}
    for scene in scenes:
        settled = [
            row_of(each) for each in write_outcomes(deblur_scene(scene, config, brighten), config)
        ]
        found[scene.name] = [receipt for each in settled for receipt in receipts_of(each)]
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def assemble(
    config: RunConfig, receipts: Mapping[str, list[Receipt]], *, seconds: float | None
) -> list[Mosaic | Rejected]:
    scenes: list[Scene] = plan_scenes(config)[0]
    engine = EngineConfig(read_seconds=seconds)
    started = config.model_copy(update={"engine": engine})
    assembler = open_assembler(started, TAGS, Workplace.open(config.output))
    assert isinstance(assembler, PlainAssembler if seconds is None else IsolatedAssembler)
    with closing(assembler):
        return [assembler.assemble(scene, receipts[scene.name]) for scene in scenes]


def test_mosaics_are_those_that_are_made_here(
    config: RunConfig, receipts: Mapping[str, list[Receipt]]
) -> None:
    here = assemble(config, receipts, seconds=None)
    assert all(isinstance(mosaic, Mosaic) for mosaic in here)
    assert assemble(config, receipts, seconds=60) == here


def test_a_scene_that_kills_the_process_has_no_mosaic(
    config: RunConfig,
    receipts: Mapping[str, list[Receipt]],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier = assemble(config, receipts, seconds=None)
    for name, value in inject({"kind": "segfault", "where": "copy", "match": "a.tif"}).items():
        monkeypatch.setenv(name, value)
    rejected, mosaic = assemble(config, receipts, seconds=60)
    assert isinstance(rejected, Rejected)
    assert (rejected.key, rejected.stage) == ("a.tif", "mosaic")
    assert rejected.exception == "DecoderCrash"
    assert "the decoder was ended by SIGSEGV" in rejected.message
    assert mosaic == earlier[1]
    assert sorted(path.name for path in (Path(config.output) / "mosaics").iterdir()) == [
        "b.tif.deblurred.tif",
        "b.tif.status.tif",
    ]
    assert not list(temporary.iterdir())


def test_a_fault_of_the_storage_is_none_of_the_scene(
    config: RunConfig, receipts: Mapping[str, list[Receipt]]
) -> None:
    clean_cores(Workplace.open(config.output))
    with pytest.raises(FileNotFoundError, match=r"0_0\S* is gone: run again"):
        assemble(config, receipts, seconds=60)
