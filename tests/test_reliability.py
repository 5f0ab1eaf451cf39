"""What operators meet: runs that are killed, stopped, started again, or in each other's way."""

import hashlib
import os
import shutil
import signal
from pathlib import Path

import pytest
from injected import inject
from reliability import (
    STEADY,
    Job,
    Run,
    defects,
    make_job,
    published,
    run_to_end,
    state,
    units,
)
from stores import Store

pytestmark = pytest.mark.slow

SCENE = "demo_512_1.tif"


def faulty(**fault: object) -> dict[str, str]:
    """Return an environment with a fault; see `faults/`."""
    return {**inject(fault), **STEADY}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return make_job(tmp_path_factory.mktemp("job"), mosaics=True)


@pytest.fixture(scope="module")
def undisturbed(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the job came to its end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_to_end(job, folder) == 0
    assert not defects(folder / "out", job)
    return folder


@pytest.fixture(scope="module")
def broken_off(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the job was killed after some windows."""
    folder = tmp_path_factory.mktemp("broken_off")
    run = Run(job.command(), folder, faulty(kind="kill_worker", where="tile", after=7))
    assert run.wait() == -signal.SIGKILL
    assert run.is_gone()
    return folder


@pytest.fixture(scope="module")
def half_published(job: Job, broken_off: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the job was killed when it had published 3 files."""
    folder = shutil.copytree(broken_off, tmp_path_factory.mktemp("half_published") / "night")
    fault = faulty(kind="kill_worker", where="move", after=3)
    assert run_to_end(job, folder, environment=fault) == -signal.SIGKILL
    return folder


@pytest.fixture
def copy(tmp_path: Path):
    """Return what copies a folder for this test alone."""
    return lambda folder: shutil.copytree(folder, tmp_path / "night")


def test_a_driver_that_was_killed_leaves_what_is_finished(broken_off: Path) -> None:
    output = broken_off / "out"
    assert state(output)["state"] == "running"
    assert units(output) > 0
    assert not published(output)


def test_the_same_command_goes_on_and_nothing_shows(
    job: Job, broken_off: Path, undisturbed: Path, copy
) -> None:
    folder = copy(broken_off)
    flipped, cut, coreless, *others = sorted(folder.glob("out/_work/units/*/*.unit"))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    for path in (cut, coreless.with_suffix(".tif")):
        os.truncate(path, path.stat().st_size // 2)
    kept = {path: path.stat().st_mtime_ns for path in others}
    assert run_to_end(job, folder) == 0
    assert not defects(folder / "out", job)
    assert published(folder / "out") == published(undisturbed / "out")
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert "is gone: its work goes on" in (folder / "log.txt").read_text()


def test_a_worker_that_is_killed_ends_the_run_and_the_next_goes_on(
    job: Job, undisturbed: Path, tmp_path: Path
) -> None:
    folder, two = tmp_path, ("--set", "engine.workers=2")
    fault = faulty(kind="kill_worker", where="tile", after=2, times=1, marker=f"{folder}/killed")
    run = Run(job.command(*two), folder, fault)
    assert run.wait() == 1
    assert run.is_gone()
    assert state(folder / "out")["state"] == "failed"
    assert "a worker process died" in run.said()
    assert not published(folder / "out")
    assert run_to_end(job, folder) == 0
    assert not defects(folder / "out", job)
    assert published(folder / "out") == published(undisturbed / "out")


def test_a_run_that_dies_while_it_publishes_is_published_by_the_next(
    job: Job, half_published: Path, undisturbed: Path, copy
) -> None:
    folder = copy(half_published)
    output, wanted = folder / "out", published(undisturbed / "out")
    assert state(output)["state"] == "running"
    assert len(published(output)) == 3
    assert published(output).items() <= wanted.items()
    assert run_to_end(job, folder) == 0
    assert not defects(output, job)
    assert published(output) == wanted


def test_a_full_disk_publishes_nothing(job: Job, half_published: Path, copy) -> None:
    folder = copy(half_published)
    output, before = folder / "out", published(half_published / "out")
    fault = faulty(kind="disk_full", where="write", match=r"^part-.*\.parquet$", after=2)
    assert run_to_end(job, folder, environment=fault) == 1
    assert state(output)["state"] == "failed"
    assert "No space left on device" in str(state(output)["error"])
    assert published(output) == before
    assert not (output / "_work" / "lease.json").exists()


def test_a_second_run_is_refused_and_the_first_obeys(job: Job, broken_off: Path, copy) -> None:
    folder = copy(broken_off)
    output, known = folder / "out", units(folder / "out")
    first = Run(job.command(), folder, faulty(kind="slow", where="tile", after=2, seconds=600))
    assert first.until(lambda: state(output).get("attempt") != state(broken_off / "out")["attempt"])
    second = Run(job.command(), folder)
    assert second.wait() == 2
    assert f"another run works in out: process {first.pid}" in second.said()
    assert not first.is_over
    first.send(signal.SIGTERM)
    assert first.wait(60) == 143
    assert first.is_gone()
    assert state(output)["state"] == "failed"
    assert not (output / "_work" / "lease.json").exists()
    assert units(output) >= known


def test_operators_repeat_renew_and_replace(job: Job, undisturbed: Path, copy) -> None:
    folder = copy(undisturbed)
    output, wanted = folder / "out", published(undisturbed / "out")
    assert run_to_end(job, folder) == 99
    assert "nothing to do" in (folder / "log.txt").read_text()
    kept = {path: path.stat().st_mtime_ns for path in output.glob("_work/units/*/*.unit")}
    assert run_to_end(job, folder, "--only", SCENE) == 0
    again = [path for path, time in kept.items() if path.stat().st_mtime_ns != time]
    assert {path.parent.name.partition("~")[0] for path in again} == {SCENE}
    assert published(output) == wanted
    assert run_to_end(job, folder, "--only", "nowhere.tif") == 2
    assert published(output) == wanted
    assert run_to_end(job, folder, "--force") == 0
    assert not defects(output, job)
    assert published(output) == wanted


def test_a_store_that_refuses_publishes_nothing_and_is_met_again(
    job: Job, undisturbed: Path, store: Store, tmp_path: Path
) -> None:
    output = f"{store.url}/night"
    wanted = {
        name: digest
        for name, digest in published(undisturbed / "out").items()
        if not name.startswith("rejected/")  # its commands name the output
    }
    store.fail("/tiles/part", times=10**6, method="PUT")
    assert run_to_end(job, tmp_path, "--output", output) == 1
    assert {key.split("/")[1] for key in store.list_keys()} <= {"_work", "_workers.log", "run.json"}
    store.heal()
    for part in (".unit", "attempts", "mosaics", "run.json"):
        store.fail(part, times=2, status=500)
    assert run_to_end(job, tmp_path, "--output", output) == 0
    objects = {key.removeprefix("night/") for key in store.list_keys()}
    assert wanted.keys() <= objects
    assert not [key for key in objects if "attempts" in key or "lease" in key]
    for name, digest in wanted.items():
        assert hashlib.sha256(store.get(f"night/{name}")).hexdigest() == digest, name
