"""run.json: what makes a run the same run, and what may happen to a folder that holds one."""

import json
from pathlib import Path

import pytest
from known_run import CONFIG, SCENES, WEIGHTS
from upath import UPath

from configs.schema import InputConfig, RunConfig
from pipeline import identity
from pipeline.manifest import (
    Counts,
    ExitCode,
    OutputError,
    check_output,
    conservation,
    describe_run,
    finish,
    read,
    start,
)
from transforms.parquet import Part

COUNTS = Counts(planned=10, measured=7, empty=2, rejected=1)
PART = Part("tiles/part-pixels-00000.parquet", 9, "ef" * 32, 4)


@pytest.fixture(autouse=True)
def one_code_version(monkeypatch):
    """Other people commit while tests run."""
    monkeypatch.setattr(identity, "code_version", lambda: "0.1.0")


def finished(output: Path, **changes) -> str:
    """Write a finished run with one part into a folder and return its identity."""
    description = describe_run(CONFIG, SCENES, WEIGHTS)
    start(output, description)
    (output / PART.path).parent.mkdir()
    (output / PART.path).write_bytes(b"PAR1")
    settled = {"exit_code": ExitCode.OK, "counts": COUNTS, "parts": [PART]}
    finish(output, **(settled | changes))
    return description["run_id"]


def test_a_run_that_began_says_with_what(tmp_path):
    start(tmp_path / "new" / "out", describe_run(CONFIG, SCENES, WEIGHTS))
    begun = read(tmp_path / "new" / "out")
    assert begun["state"] == "running"
    assert begun["config"]["input"]["scenes"] == ["in/*.tif"]
    assert begun["inputs"][1:] == [
        {"path": "in/b.tif", "size": 2000, "mtime_ns": 5},
        {"path": "s3://in/c.tif", "size": 3000, "version": "e7a9"},
        {"path": "https://in/d.tif", "size": None, "version": None},
    ]
    assert begun["weights"] == WEIGHTS
    assert begun["started"].endswith("+00:00")
    assert set(begun["versions"]) > {"python", "apache-beam", "torch", "rasterio", "ultralytics"}


def test_a_finished_run_says_how_it_ended(tmp_path):
    finished(tmp_path, seconds={"deblur": 1.23456}, pixels=2_500_000)
    ended = read(tmp_path)
    assert (ended["state"], ended["exit_code"], ended["error"]) == ("done", 0, None)
    counts = {"planned": 10, "measured": 7, "empty": 2, "rejected": 1, "unmade_mosaics": 0}
    assert ended["counts"] == counts
    assert ended["stage_seconds"] == {"deblur": 1.235}
    assert ended["mpix"] == 2.5
    assert ended["outputs"] == [{"path": PART.path, "rows": 9, "sha256": PART.sha256, "size": 4}]
    assert ended["wall_seconds"] >= 0
    assert ended["finished"] >= ended["started"]


def test_the_manifest_is_replaced_in_one_step(tmp_path):
    finished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_work", "run.json", "tiles"]
    assert not list((tmp_path / "_work").iterdir())


def test_half_a_manifest_does_not_make_the_folder_a_strange_one(tmp_path, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", kill)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, describe_run(CONFIG, SCENES, WEIGHTS))
    assert len(list(tmp_path.rglob(".*.json"))) == 1
    assert check_output(tmp_path, "0" * 12, force=False) == "fresh"


@pytest.mark.parametrize("force", [False, True])
def test_an_absent_or_empty_folder_is_fresh(tmp_path, force):
    assert check_output(tmp_path / "absent", "0" * 12, force=force) == "fresh"
    assert check_output(tmp_path, "0" * 12, force=force) == "fresh"


def test_the_same_run_is_not_done_twice(tmp_path):
    identity = finished(tmp_path)
    assert check_output(tmp_path, identity, force=False) == "done"
    assert check_output(tmp_path, identity, force=True) == "fresh"


def test_a_killed_run_is_resumed(tmp_path):
    description = describe_run(CONFIG, SCENES, WEIGHTS)
    start(tmp_path, description)
    assert check_output(tmp_path, description["run_id"], force=False) == "resume"


@pytest.mark.parametrize("exit_code", [1, ExitCode.TOO_MANY_REJECTS, ExitCode.GATE_FAILED])
def test_a_failed_run_is_resumed(tmp_path, exit_code):
    identity = finished(tmp_path, exit_code=exit_code, error="why")
    assert read(tmp_path)["state"] == "failed"
    assert check_output(tmp_path, identity, force=False) == "resume"


def test_a_run_whose_tables_were_deleted_is_resumed(tmp_path):
    identity = finished(tmp_path)
    (tmp_path / PART.path).unlink()
    assert check_output(tmp_path, identity, force=False) == "resume"


def test_an_output_on_a_store_is_judged_as_it_is_now(store):
    output, description = UPath(store.url) / "out", describe_run(CONFIG, SCENES, WEIGHTS)
    identity = description["run_id"]
    assert check_output(output, identity, force=False) == "fresh"
    store.put("out/thesis.tex", b"")
    with pytest.raises(OutputError, match=r"holds no run.*--output.*--force"):
        check_output(output, identity, force=False)
    start(output, description)
    assert check_output(output, identity, force=False) == "resume"
    store.put(f"out/{PART.path}", b"PAR1")
    finish(output, exit_code=ExitCode.OK, counts=COUNTS, parts=[PART])
    assert check_output(output, identity, force=False) == "done"
    with pytest.raises(OutputError, match=rf"s3://.*/out holds run {identity} \(done"):
        check_output(output, "0" * 12, force=False)
    store.delete(f"out/{PART.path}")
    assert check_output(output, identity, force=False) == "resume"
    assert check_output(output, identity, force=True) == "fresh"


def test_an_object_is_not_an_output_even_with_force(store):
    store.put("out", b"")
    with pytest.raises(OutputError, match="must be a folder"):
        check_output(UPath(store.url) / "out", "0" * 12, force=True)


def test_a_damaged_manifest_on_a_store_is_named(store):
    store.put("out/run.json", b"\xff")
    with pytest.raises(OutputError, match=r"out/run\.json is not the manifest of a run"):
        check_output(UPath(store.url) / "out", "0" * 12, force=False)


def test_a_run_says_what_it_asked_of_servers(tmp_path):
    reads = {"requests": 12, "bytes": 3456, "tiles": 9}
    finished(tmp_path, reads=reads)
    assert read(tmp_path)["reads"] == reads


def test_another_run_is_not_replaced_unasked(tmp_path):
    identity = finished(tmp_path)
    with pytest.raises(OutputError, match=rf"holds run {identity} \(done.*--output.*--force"):
        check_output(tmp_path, "0" * 12, force=False)
    assert check_output(tmp_path, "0" * 12, force=True) == "fresh"


def test_a_folder_of_something_else_is_not_replaced_unasked(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match=r"holds no run.*--output.*--force"):
        check_output(tmp_path, "0" * 12, force=False)


def test_a_file_is_not_an_output_even_with_force(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="must be a folder"):
        check_output(tmp_path / "out", "0" * 12, force=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run_id": "a"}'])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(OutputError, match=r"run\.json is not the manifest of a run"):
        check_output(tmp_path, "0" * 12, force=False)


def test_nothing_is_lost_when_rows_and_rejects_add_up():
    conservation(COUNTS)


@pytest.mark.parametrize("measured", [6, 8])
def test_a_lost_or_doubled_window_fails_the_run(measured):
    counts = Counts(planned=10, measured=measured, empty=2, rejected=1)
    with pytest.raises(RuntimeError, match=f"10 windows were planned, but {measured + 3} ended"):
        conservation(counts)


def test_up_to_three_missing_windows_are_named():
    counts = Counts(planned=10, measured=5, empty=0, rejected=0)
    with pytest.raises(RuntimeError, match=r"missing: a, b, c$"):
        conservation(counts, missing=["a", "b", "c", "d", "e"])


def test_no_key_of_a_url_is_written(tmp_path):
    url = "https://me:word@in/d.tif?X-Amz-Signature=0af3"
    config = RunConfig(input=InputConfig(scenes=(url,)))
    start(UPath(tmp_path), describe_run(config, [(url, 5, "e7a9")], WEIGHTS))
    finish(UPath(tmp_path), exit_code=ExitCode.BROKEN, error=f"{url} cannot be read")
    text = (tmp_path / "run.json").read_text()
    assert "https://...@in/d.tif?X-Amz-Signature=..." in text
    assert "0af3" not in text
    assert "word" not in text


def test_a_part_that_was_cut_off_afterwards_is_made_again(tmp_path):
    output = UPath(tmp_path / "run")
    run_id = finished(output)
    assert check_output(output, run_id, force=False) == "done"
    (output / PART.path).write_bytes(b"PAR")
    assert check_output(output, run_id, force=False) == "resume"


def test_exit_codes_are_those_of_the_contract():
    codes = {
        "OK": 0,
        "BROKEN": 1,
        "BAD_CONFIG": 2,
        "TOO_MANY_REJECTS": 3,
        "GATE_FAILED": 4,
        "NOTHING_TO_DO": 99,
    }
    assert {code.name: code.value for code in ExitCode} == codes


def test_a_manifest_is_plain_json(tmp_path):
    finished(tmp_path)
    json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
