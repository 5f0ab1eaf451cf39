"""The lease: one run at a time in a folder, whoever dies, and whatever the clocks say."""

import json
import multiprocessing
import os
import time

import psutil
import pytest
from upath import UPath

from pipeline import lease as module
from pipeline.lease import (
    Holder,
    LeaseError,
    LeaseLostError,
    leased,
    machine_id,
    start_of,
)
from transforms.storage import StorageError

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let a beat last a twentieth of a second."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)


@pytest.fixture
def output(tmp_path):
    return UPath(tmp_path / "run")


def path_of(output):
    return output / "_work" / "lease.json"


def write_lease(output, **values):
    """Leave the lease of another holder in a folder."""
    known = {"attempt": "other", "host": "elsewhere", "machine": "elsewhere 1", "pid": 1}
    path_of(output).parent.mkdir(parents=True, exist_ok=True)
    path_of(output).write_text(json.dumps(known | {"started": 0.0, "beat": 0} | values))


def test_a_folder_is_free_before_and_after(output):
    said = []
    for attempt in ("one", "two"):
        with leased(output, attempt, say=said.append) as lease:
            lease.confirm()
            assert json.loads(path_of(output).read_text())["attempt"] == attempt
        assert not path_of(output).exists()
    assert said == []


def test_an_error_in_the_block_gives_the_folder_free(output):
    with pytest.raises(KeyError), leased(output, "one", say=print):
        raise KeyError
    assert not path_of(output).exists()


def test_a_second_run_of_this_machine_is_refused_at_once(output):
    with leased(output, "one", say=print) as first:
        with (
            pytest.raises(LeaseError, match=f"process {os.getpid()}"),
            leased(output, "two", say=print),
        ):
            pass
        first.confirm()


def hold(folder):
    with leased(UPath(folder), "child", say=print):
        time.sleep(60)


def test_the_lease_of_a_killed_process_is_taken_over_at_once(output):
    child = SPAWN.Process(target=hold, args=(str(output),))
    child.start()
    while not path_of(output).exists():
        time.sleep(0.05)
    child.kill()
    child.join()
    said = []
    with leased(output, "two", say=said.append) as lease:
        lease.confirm()
    assert [f"process {child.pid}" in text for text in said] == [True]


def test_a_number_that_the_system_gave_to_another_process_is_not_the_holder(output):
    started = psutil.Process().create_time()
    write_lease(output, machine=machine_id(), pid=os.getpid(), started=started - 100)
    with leased(output, "two", say=print) as lease:
        lease.confirm()


def test_the_lease_of_another_machine_is_taken_when_its_number_stands_still(output):
    write_lease(output)
    said = []
    with leased(output, "two", say=said.append) as lease:
        lease.confirm()
    assert ["elsewhere" in text for text in said] == [True]


@pytest.mark.parametrize("skew", [-1e9, 1e9])
def test_a_moving_number_is_a_living_holder_whatever_its_clock_says(output, skew, monkeypatch):
    write_lease(output, started=time.time() + skew)

    def beat(seconds):
        write_lease(output, started=time.time() + skew, beat=1)

    monkeypatch.setattr(module.time, "sleep", beat)
    with pytest.raises(LeaseError, match="elsewhere"), leased(output, "two", say=print):
        pass


def test_a_run_that_was_taken_for_dead_notices_it(output):
    with leased(output, "one", say=print) as lease:
        write_lease(output, attempt="two")
        with pytest.raises(LeaseLostError, match="took"):
            lease.confirm()
    assert json.loads(path_of(output).read_text())["attempt"] == "two"


def test_the_beat_alone_notices_it_too(output):
    with leased(output, "one", say=print) as lease:
        write_lease(output, attempt="two")
        lease._ended.wait(1)  # many beats
        with pytest.raises(LeaseLostError):
            lease.check()


def test_half_a_lease_is_none(output):
    write_lease(output)
    path_of(output).write_text('{"attempt": "o')
    with leased(output, "two", say=print) as lease:
        lease.confirm()


def test_a_lease_that_vanishes_while_one_looks_is_none(output, monkeypatch):
    def vanish(path):
        raise FileNotFoundError(path)

    write_lease(output)
    monkeypatch.setattr(type(output), "read_bytes", vanish)
    assert module._read(path_of(output)) is None
    path = UPath("memory://lease/lease.json")
    path.write_bytes(b"{}")
    monkeypatch.setattr(type(path), "read_bytes", vanish)
    assert module._read(path) is None


def test_a_lease_of_another_version_is_none_on_a_store_too():
    path = UPath("memory://lease/lease.json")
    for content in (b"{", b"[]", b'{"owner": 1}'):
        path.write_bytes(content)
        assert module._read(path) is None


def test_whoever_does_not_know_believes_that_the_lease_is_held(output, monkeypatch):
    def unreachable(path):
        raise StorageError("away")

    with leased(output, "one", say=print) as lease:
        with monkeypatch.context() as patch:
            patch.setattr(module, "_read", unreachable)
            assert lease.is_held()
        write_lease(output, attempt="two")
        assert not lease.is_held()


def take(folder, name, queue):
    try:
        with leased(UPath(folder), name, say=lambda text: None):
            queue.put((name, "in"))
            time.sleep(1.0)
            queue.put((name, "out"))
    except LeaseError:
        queue.put((name, "refused"))


def test_of_many_at_once_one_works(output):
    write_lease(output, machine=machine_id(), pid=2**22 + 1)  # of a process that is gone
    queue = SPAWN.Queue()
    children = [SPAWN.Process(target=take, args=(str(output), str(n), queue)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    events = [queue.get() for _ in range(queue.qsize())]
    inside: set[str] = set()
    for name, event in events:
        if event == "in":
            assert not inside
            inside.add(name)
        elif event == "out":
            inside.remove(name)
    assert any(event == "out" for _, event in events)
    assert not path_of(output).exists()


@pytest.mark.slow
def test_a_store_keeps_a_second_run_out_too(store):
    output = UPath(f"{store.url}/night")
    with leased(output, "one", say=print) as lease:
        lease.confirm()
        with pytest.raises(LeaseError), leased(output, "two", say=print):
            pass
    assert not store.list_keys()
    module._take(path_of(output), Holder.here("dead"), instead_of=None)
    assert not module._take(path_of(output), Holder.here("two"), instead_of=None)


def test_a_holder_is_alive_though_the_clock_was_set(output, monkeypatch):
    with leased(output, "one", say=print):
        boot = psutil.boot_time()
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600)
        with pytest.raises(LeaseError), leased(output, "two", say=print):
            pass


def test_a_process_that_ended_unmourned_is_dead(output):
    child = SPAWN.Process(target=os._exit, args=(0,))
    child.start()
    started = start_of(child.pid)
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert started is not None
    assert start_of(child.pid) is None
    child.join()


def test_a_store_that_is_away_at_the_end_harms_no_run(output, monkeypatch, caplog):
    def unreachable(path):
        raise StorageError("away")

    with leased(output, "one", say=print):
        monkeypatch.setattr(module, "_read", unreachable)
    assert "cannot be given back: away" in caplog.text
