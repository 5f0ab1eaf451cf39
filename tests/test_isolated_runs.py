"""Whole runs, as an operator starts them: a scene that kills or stops its decoder costs itself."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from injected import inject
from scenes import textured, write_picture
from small_runs import ALL_TABLES

from pipeline.manifest import ExitCode
from transforms.parquet import read_rows
from transforms.tables import REJECTED, TILES

ROOT = Path(__file__).resolve().parents[1]
SCENES = ("a.tif", "b.tif", "c.tif", "d.tif")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four scenes of 2 x 2 windows."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(SCENES):
        write_picture(folder / name, textured(256, 256, seed=seed))
    return folder


def run_job(folder: Path, output: Path, *faults: dict[str, object], **engine: object) -> int:
    """Run all scenes in processes with faults, and return the exit code."""
    config = {
        "input": {"scenes": [f"{folder}/*.tif"]},
        "read": {"core": 128, "halo": 32},
        "arms": {"controls": []},
        "measure": {"stability": 0, "interval": {"replicates": 0}},
        "engine": engine,
        "mosaic": {"write": True},
        "output": str(output),
    }
    path = output.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", str(path)], cwd=ROOT, env=inject(*faults), check=False
    )
    return done.returncode


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Path:
    """The output of a run without faults."""
    output = folder / "undisturbed"
    assert run_job(folder, output) == ExitCode.OK
    return output


FAULTS = (
    {"kind": "segfault", "where": "read", "match": "b.tif:96,0"},
    {"kind": "hang", "where": "read", "match": "c.tif:0,96"},
    {"kind": "segfault", "where": "assemble", "match": "a.tif"},
    {"kind": "segfault", "where": "open", "match": "d.tif"},
)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_bad_scenes_cost_their_own_windows_and_mosaics(
    folder: Path, undisturbed: Path, workers: int
) -> None:
    output = folder / f"with_{workers}"
    code = run_job(folder, output, *FAULTS, workers=workers, read_seconds=10)
    assert code == ExitCode.TOO_MANY_REJECTS
    rejects = {(row["key"], row["stage"], row["exception"]) for row in read_rows(output, REJECTED)}
    assert rejects == {
        ("b.tif:128,0", "read", "DecoderCrash"),
        ("c.tif:0,128", "read", "DecoderTimeout"),
        ("a.tif", "mosaic", "DecoderCrash"),
        ("d.tif", "open", "DecoderCrash"),
    }
    lost = {key for key, stage, _ in rejects if stage == "read"}
    wanted = {row["key"] for row in read_rows(undisturbed, TILES) if row["scene"] != "d.tif"}
    assert {row["key"] for row in read_rows(output, TILES)} == wanted - lost
    of_a, undisturbed_a = (
        [row for row in read_rows(each, TILES) if row["scene"] == "a.tif"]
        for each in (output, undisturbed)
    )
    assert of_a == undisturbed_a
    made = {path.name.split(".deblurred")[0] for path in output.glob("mosaics/*.deblurred.tif")}
    assert made == {"b.tif", "c.tif"}


@pytest.mark.slow
def test_a_decoder_that_dies_once_changes_nothing(folder: Path, undisturbed: Path) -> None:
    output, marker = folder / "once", folder / "marker"
    fault = {"kind": "kill_worker", "where": "read", "match": "b.tif", "marker": str(marker)}
    assert run_job(folder, output, fault | {"times": 1}) == ExitCode.OK
    assert Path(f"{marker}.0").exists()
    for table in ALL_TABLES:
        assert list(read_rows(output, table)) == list(read_rows(undisturbed, table))
