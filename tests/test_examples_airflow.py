"""The DAG for Airflow: its tasks, what they wait for, and what exit codes mean to it."""

import ast
from pathlib import Path

import pytest

from pipeline.manifest import ExitCode

PATH = Path(__file__).resolve().parents[1] / "examples" / "airflow" / "aerial_deblur_nightly.py"
TREE = ast.parse(PATH.read_text(encoding="utf-8"))
RETRIES = {"run": 3, "gate": 1, "export": 2, "alert": 2}


def constant(name: str) -> object:
    [found] = [
        node.value
        for node in TREE.body
        if isinstance(node, ast.Assign) and node.targets[0].id == name
    ]
    return ast.literal_eval(found)


def tasks() -> dict[str, ast.FunctionDef]:
    return {
        node.name: node
        for node in ast.walk(TREE)
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each).startswith("task(") for each in node.decorator_list)
    }


def settings(task: ast.FunctionDef) -> dict[str, str]:
    [decorator] = task.decorator_list
    return {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}


def command(task: ast.FunctionDef) -> str | None:
    for node in ast.walk(task):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "aerial_deblur":
            return node.args[0].value
    return None


def test_exit_codes_mean_what_they_mean_to_us():
    assert constant("NOTHING_TO_DO") == ExitCode.NOTHING_TO_DO
    final = {ExitCode.TOO_MANY_REJECTS, ExitCode.GATE_FAILED}
    assert set(constant("FINAL")) == {2, *final}


def test_tasks_call_the_commands_of_their_names():
    found = {name: command(task) for name, task in tasks().items()}
    assert found == {"run": "run", "gate": "gate", "export": "export", "alert": None}


def test_runs_wait_for_their_turn_and_end_in_time():
    run = settings(tasks()["run"])
    assert run["pool"] == "'aerial_deblur'"
    assert all("execution_timeout" in settings(tasks()[name]) for name in ("run", "gate", "export"))


def test_what_may_pass_is_tried_again():
    assert {name: int(settings(task)["retries"]) for name, task in tasks().items()} == RETRIES


def test_a_failure_of_any_task_is_told():
    assert settings(tasks()["alert"])["trigger_rule"] == "'one_failed'"
    lines = [
        ast.unparse(node) for node in ast.walk(TREE) if isinstance(node, ast.Assign | ast.Expr)
    ]
    assert "ran = run(OUTPUT)" in lines
    assert "judged = gate(ran)" in lines
    assert "exported = export(judged)" in lines
    assert "[ran, judged, exported] >> alert(OUTPUT)" in lines


def test_airflow_reads_it():
    dagbag = pytest.importorskip("airflow.dag_processing.dagbag", reason="needs apache-airflow 3")
    found = dagbag.DagBag(str(PATH.parent))
    assert not found.import_errors
    dag = found.dags["aerial_deblur_nightly"]
    assert {task.task_id: task.retries for task in dag.tasks} == RETRIES
    assert dag.get_task("alert").upstream_task_ids == {"run", "gate", "export"}
