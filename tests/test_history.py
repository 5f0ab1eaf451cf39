"""The history of runs: one row a run, whole files, and no row lost between writers."""

import json
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from made_runs import made_run
from upath import UPath

from pipeline import manifest
from pipeline.history import add_runs, collect_runs, read_history, record_run, run_row
from pipeline.manifest import OutputError
from transforms import shared_file
from transforms.parquet import read_rows
from transforms.run_table import RUNS, runs_from_bytes, runs_to_bytes
from transforms.shared_file import change_file
from transforms.storage import StorageError
from transforms.tables import SUMMARY

DOCS = Path(__file__).resolve().parents[1] / "docs" / "operations.md"


def copy_of(output: Path, folder: Path, **changes) -> UPath:
    """Return a folder whose manifest is that of a run with changes; it has no tables."""
    folder.mkdir()
    run = manifest.read(UPath(output)) | changes
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return UPath(folder)


def test_a_row_says_what_manifest_and_summary_say(finished):
    row, run = run_row(UPath(finished)), manifest.read(UPath(finished))
    summary = {
        (line["arm"], line["metric"]): line
        for line in read_rows(UPath(finished), SUMMARY)
        if line["stratum"] == "all"
    }
    assert list(row) == [column.name for column in RUNS.columns]
    assert (row["run_id"], row["state"], row["exit_code"]) == (run["run_id"], "done", 0)
    assert row["planned"] == row["measured"] + row["empty"] + row["rejected"] > 0
    assert row["speed"] == pytest.approx(run["mpix"] / run["wall_seconds"])
    assert row["input_bytes"] == sum(scene["size"] for scene in run["inputs"])
    gain = summary["after", "recall_gain"]
    assert row["recall_gain"] == gain["value"]
    assert (row["recall_gain_low"], row["recall_gain_high"]) == (gain["low"], gain["high"])
    assert row["recall_gain"] == pytest.approx(row["recall_after"] - row["recall_before"])
    assert row["labels"] == summary["before", "recall"]["n"]
    assert row["psnr_gain"] == summary["after", "psnr_gain"]["value"]
    assert row["precision_after"] == summary["after", "precision"]["value"]
    assert {weight["sha256"] for weight in row["weights"]} == set(run["weights"].values())


def test_a_run_without_truth_has_no_recall(unjudged):
    row = run_row(UPath(unjudged))
    assert row["truth"] == "none"
    assert {row[name] for name in row if "recall" in name or "precision" in name} == {None}
    assert row["blur_length"] > 0


def test_a_run_that_broke_down_has_a_row_without_numbers(finished, tmp_path):
    broken = {"state": "failed", "exit_code": 1, "error": "OSError: gone", "counts": None}
    target = UPath(tmp_path / "runs.parquet")
    record_run(copy_of(finished, tmp_path / "broken", **broken), target)
    [row] = read_history(target)
    assert (row["state"], row["exit_code"], row["error"]) == ("failed", 1, "OSError: gone")
    assert row["planned"] is row["mpix"] is row["speed"] is row["recall_gain"] is None


def test_a_resumed_run_has_no_speed(finished, tmp_path):
    metrics = {"tiles": {"measured": 1, "resumed": 3}}
    row = run_row(copy_of(finished, tmp_path / "resumed", metrics=metrics))
    assert row["resumed"] == 3
    assert row["speed"] is None


def test_unknown_sizes_of_inputs_are_not_summed(finished, tmp_path):
    inputs = [*manifest.read(UPath(finished))["inputs"], {"path": "https://host/a", "size": None}]
    assert run_row(copy_of(finished, tmp_path / "web", inputs=inputs))["input_bytes"] is None


def test_collecting_adds_and_replaces(finished, unjudged, tmp_path, capsys):
    target = UPath(tmp_path / "runs.parquet")
    assert collect_runs([UPath(finished)], target) == 0
    first = target.read_bytes()
    assert collect_runs([UPath(finished)], target) == 0
    assert target.read_bytes() == first
    assert collect_runs([UPath(unjudged), UPath(finished)], target) == 0
    assert "2 runs, 2 of them from here" in capsys.readouterr().out
    assert [row["run_id"] for row in read_history(target)] == [
        manifest.read(UPath(output))["run_id"] for output in (finished, unjudged)
    ]


def test_the_same_job_done_again_is_another_row(tmp_path):
    target = UPath(tmp_path / "runs.parquet")
    row = made_run(1)
    add_runs([row], target)
    assert add_runs([row | {"started": made_run(2)["started"]}], target) == 2


def test_running_runs_are_left_out_and_named_in_the_order_given(finished, tmp_path, capsys):
    names = ["c", "a", "d", "b"]
    running = [copy_of(finished, tmp_path / n, state="running", finished=None) for n in names]
    target = UPath(tmp_path / "runs.parquet")
    assert collect_runs([*running, UPath(finished)], target) == 0
    *named, _ = capsys.readouterr().out.splitlines()
    assert named == [f"{each} has not come to its end: left out" for each in running]
    assert len(read_history(target)) == 1


def test_a_folder_without_a_run_leaves_the_history_as_it_is(finished, tmp_path):
    target = UPath(tmp_path / "runs.parquet")
    collect_runs([UPath(finished)], target)
    before = target.read_bytes()
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError):
        collect_runs([UPath(finished), UPath(tmp_path)], target)
    assert target.read_bytes() == before


def test_a_file_that_is_no_history_is_not_replaced(finished, tmp_path):
    target = UPath(tmp_path / "precious.parquet")
    target.write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"precious\.parquet is no history of runs"):
        record_run(UPath(finished), target)
    other = UPath(finished) / "summary"
    [part] = other.glob("*.parquet")
    target.write_bytes(part.read_bytes())
    with pytest.raises(ValueError, match="which are missing"):
        record_run(UPath(finished), target)
    assert target.read_bytes() == part.read_bytes()


def test_bytes_depend_on_the_rows_alone():
    rows = [made_run(night) for night in range(5)]
    assert runs_to_bytes(rows) == runs_to_bytes(rows[::-1])


def test_columns_are_described_with_units(tmp_path):
    target = UPath(tmp_path / "runs.parquet")
    add_runs([made_run()], target)
    schema = pq.read_schema(target)
    for column in RUNS.columns:
        meaning = schema.field(column.name).metadata
        assert meaning[b"description"].decode() == column.description
        assert meaning[b"unit"].decode() == column.unit
    assert schema.metadata[b"table"] == b"runs"


def test_rows_of_an_older_version_are_filled_up(tmp_path):
    older = tmp_path / "older.parquet"
    target = UPath(tmp_path / "runs.parquet")
    add_runs([made_run(1)], target)
    pq.write_table(pq.read_table(target).drop_columns(["resumed", "blur_length"]), older)
    [row] = runs_from_bytes(older.read_bytes())
    assert row == made_run(1) | {"resumed": None}


def _append(job: tuple[str, int]) -> None:
    target, night = job
    add_runs([made_run(night)], UPath(target))


def test_processes_that_write_at_once_lose_no_row(tmp_path):
    target = tmp_path / "runs.parquet"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_append, [(str(target), night) for night in range(12)]))
    assert [row["run_id"] for row in read_history(UPath(target))] == [
        f"{night:012x}" for night in range(12)
    ]
    assert {path.name for path in tmp_path.iterdir()} <= {"runs.parquet", ".runs.parquet.lock"}


def test_a_lock_left_behind_by_a_dead_process_is_no_obstacle(tmp_path):
    target = UPath(tmp_path / "runs.parquet")
    (tmp_path / ".runs.parquet.lock").write_text("4711", encoding="utf-8")
    assert add_runs([made_run()], target) == 1


def test_a_change_that_fails_leaves_the_file_and_no_other(tmp_path):
    target = UPath(tmp_path / "runs.parquet")
    target.write_bytes(b"before")

    def fail(_: bytes | None) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        change_file(target, fail)
    assert target.read_bytes() == b"before"


def test_on_a_store_a_row_that_comes_between_is_kept(store, monkeypatch):
    monkeypatch.setattr(shared_file.time, "sleep", lambda _: None)
    target = UPath(f"{store.url}/runs.parquet")
    add_runs([made_run(1)], target)
    between = [made_run(2)]

    def change(content: bytes | None) -> bytes:
        rows = runs_from_bytes(content)
        if between:
            add_runs([between.pop()], target)
        return runs_to_bytes([*rows, made_run(3)])

    change_file(target, change)
    assert [row["run_id"] for row in read_history(target)] == [f"{n:012x}" for n in (1, 2, 3)]


def test_on_a_store_the_first_of_two_first_rows_is_kept(store, monkeypatch):
    monkeypatch.setattr(shared_file.time, "sleep", lambda _: None)
    target = UPath(f"{store.url}/new/runs.parquet")
    calls = []

    def change(content: bytes | None) -> bytes:
        calls.append(content)
        if len(calls) == 1:
            add_runs([made_run(1)], target)
        return runs_to_bytes([*([] if content is None else runs_from_bytes(content)), made_run(2)])

    change_file(target, change)
    assert calls[0] is None
    assert len(read_history(target)) == 2


def test_on_a_store_a_row_that_comes_while_reading_is_kept(store, monkeypatch):
    monkeypatch.setattr(shared_file.time, "sleep", lambda _: None)
    target = UPath(f"{store.url}/runs.parquet")
    add_runs([made_run(1)], target)
    look, between = shared_file._etag, [made_run(2)]

    def look_and_be_late(place: UPath) -> str | None:
        seen = look(place)
        if between:
            add_runs([between.pop()], place)
        return seen

    monkeypatch.setattr(shared_file, "_etag", look_and_be_late)
    add_runs([made_run(3)], target)
    assert [row["run_id"] for row in read_history(target)] == [f"{n:012x}" for n in (1, 2, 3)]


def test_a_store_that_refuses_is_an_error_and_no_endless_wait(store, monkeypatch):
    monkeypatch.setattr(shared_file.time, "sleep", lambda _: None)
    target = UPath(f"{store.url}/runs.parquet")
    store.fail("runs.parquet", times=1, status=403, method="PUT")
    with pytest.raises(StorageError, match="cannot be reached"):
        add_runs([made_run(1)], target)
    assert store.list_keys() == []


def test_queries_of_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [made_run(night, rejected=night) for night in range(20)]
    add_runs(rows, UPath(tmp_path / "runs.parquet"))
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) >= 3
    for query in queries:
        result = duckdb.sql(query)
        assert result.fetchall(), query
