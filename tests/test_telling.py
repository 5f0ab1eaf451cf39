"""Whoever wants to know of a run is told, and a run does not fail because nobody listens."""

import json

import pytest
from scenes import textured, write_picture
from small_runs import configure
from stub_networks import use_stubs

import pipeline.run
from pipeline.errors import BrokenRunError
from pipeline.history import read_history
from pipeline.run import run

pytestmark = pytest.mark.usefixtures("one_code_version")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    use_stubs(monkeypatch)
    scene = write_picture(tmp_path / "a.tif", textured(200, 200, 1))

    def make(output, **observe):
        measure = {"stability": 0, "interval": {"replicates": 0}}
        return configure(tmp_path / output, scene, measure=measure, observe=observe)

    return make


def test_a_run_stands_in_the_history_and_the_lineage_well_ended_or_not(
    tmp_path, settings, monkeypatch
):
    told = {"history": tmp_path / "runs.parquet", "lineage": tmp_path / "lineage.jsonl"}

    def fail(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.run, "publish_tables", fail)
        with pytest.raises(BrokenRunError):
            run(settings("run", **told))
    assert run(settings("run", **told)) == 0
    rows = read_history(tmp_path / "runs.parquet")
    assert [row["exit_code"] for row in rows] == [1, 0]
    events = [json.loads(line) for line in (tmp_path / "lineage.jsonl").read_text().splitlines()]
    assert [event["eventType"] for event in events] == ["START", "FAIL", "START", "COMPLETE"]


def test_a_run_that_nobody_can_be_told_of_ends_well(tmp_path, settings, capsys):
    (tmp_path / "file").touch()
    told = {
        name: tmp_path / "file" / f"x.{suffix}"
        for name, suffix in (("history", "parquet"), ("lineage", "jsonl"), ("prometheus", "prom"))
    }
    assert run(settings("run", **told)) == 0
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count("warning:") == 4
