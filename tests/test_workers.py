"""How many processes a run gets where nobody says it."""

import os

import pytest
from scenes import write_picture
from small_runs import configure
from stub_networks import use_stubs

from configs.load import validate
from configs.schema import RunConfig
from pipeline.planning import plan_run
from pipeline.workers import (
    START_SECONDS,
    THREADS,
    choose_workers,
    cpu_quota,
    one_thread_each,
    usable_cores,
)
from transforms.functional.render import render_scene


def workers(*, local=True, windows=100, cores=4, seconds=1000.0, mpix=10.0, **sections):
    config = validate(RunConfig, sections, source="test")
    engine = choose_workers(
        config, windows=windows, seconds=seconds, mpix=mpix, cores=cores, local=local
    )
    return engine.workers


def test_there_is_a_process_for_every_core_but_not_more_than_windows():
    assert workers() == 4
    assert workers(windows=3) == 3
    assert workers(windows=1) == 1
    assert workers(windows=0) == 1
    assert workers(cores=1) == 1


def test_a_run_that_would_lose_by_starting_processes_stays_here():
    break_even = START_SECONDS / (1 - 1 / 4)
    assert workers(seconds=break_even * 0.99) == 1
    assert workers(seconds=break_even * 1.01) == 4


def test_networks_of_unknown_speed_are_judged_by_pixels():
    assert workers(seconds=None, mpix=5) == 1
    assert workers(seconds=None, mpix=500) == 4


def test_a_gpu_gets_one_process():
    assert workers(deblur={"device": "cuda"}) == 1
    assert workers(detect={"device": "cuda:0"}) == 1


def test_elsewhere_auto_is_one():
    assert workers(local=False) == 1


def test_a_number_stays():
    assert workers(engine={"workers": 3}, seconds=0.1, cores=1) == 3
    assert workers(engine={"workers": 3}, local=False) == 3


def test_a_plan_names_the_number(tmp_path, monkeypatch):
    use_stubs(monkeypatch)
    scene = write_picture(
        tmp_path / "a.tif", render_scene(seed=1, height=300, width=300, gsd=0.15).image
    )
    config = configure(tmp_path / "run", scene)
    assert config.engine.workers == "auto"
    assert config.engine.parallelism == 1
    assert plan_run(config).config.engine.workers == 1
    assert plan_run(config).manifest["config"]["engine"]["workers"] == 1


def test_processes_of_a_run_start_with_one_thread_each(monkeypatch):
    monkeypatch.setenv(THREADS[0], "3")
    monkeypatch.delenv(THREADS[1], raising=False)
    with one_thread_each():
        assert os.environ[THREADS[0]] == "3"
        assert os.environ[THREADS[1]] == "1"
    assert THREADS[1] not in os.environ


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ({}, None),
        ({"": "max 100000"}, None),
        ({"a/b": "150000 100000"}, 1.5),
        ({"a": "400000 100000", "a/b": "max 100000"}, 4.0),
        ({"a": "200000 100000", "a/b": "300000 100000"}, 2.0),
        ({"c": "100000 100000"}, None),  # another group's
    ],
)
def test_the_least_quota_of_all_groups_counts(tmp_path, limits, quota):
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    own.write_text("0::/a/b\n")
    for name, text in limits.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cpu.max").write_text(text + "\n")
    assert cpu_quota(root, own) == quota


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") is None
    assert 1 <= usable_cores() <= os.cpu_count()
