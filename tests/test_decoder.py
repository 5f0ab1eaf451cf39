"""A decoder: what is called in it is as if called here, whatever becomes of its process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from rasterio.errors import RasterioIOError
from victim import Victim

from transforms.decoder import Decoder, DecoderCrash, DecoderTimeout
from transforms.network_use import take_network_use

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder[Victim]]:
    """Return a decoder whose object has counted who knows how far."""
    with closing(Decoder(Victim, 60)) as decoder:
        yield decoder


@pytest.fixture
def decoder() -> Iterator[Decoder[Victim]]:
    with closing(Decoder(partial(Victim, 5), 60)) as decoder:
        yield decoder


def is_running(pid: int) -> bool:
    """Say whether there is such a process, and it is not only waiting to be buried."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(pid: int) -> bool:
    """Wait until a process has ended; False after 10 s."""
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


def test_the_object_stays_between_calls(decoder: Decoder[Victim]) -> None:
    assert [decoder.call(Victim.count) for _ in range(3)] == [6, 7, 8]
    assert decoder.call(Victim.pid) not in (os.getpid(), os.getppid())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(0, 3), (1,), (3, 700, 500)])
def test_arrays_come_back_as_they_were(
    shared: Decoder[Victim], dtype: str, shape: tuple[int, ...]
) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    got, same = shared.call(Victim.echo, (array, np.asfortranarray(array)))
    for each, wanted in [(got, array), (same, np.asfortranarray(array))]:
        assert each.dtype == wanted.dtype
        assert each.flags.f_contiguous == wanted.flags.f_contiguous
        assert np.array_equal(each, wanted)
    got[...] = 0  # they can be written to


def test_arrays_that_are_no_piece_of_memory_come_back_too(shared: Decoder[Victim]) -> None:
    array = np.arange(40).reshape(5, 8)
    assert np.array_equal(shared.call(Victim.columns, array), array[:, ::2])


@pytest.mark.parametrize(
    "error", [ValueError("a"), OSError(5, "b"), RasterioIOError("c"), IndexError("d")]
)
def test_errors_arrive_as_they_are(shared: Decoder[Victim], error: Exception) -> None:
    count = shared.call(Victim.count)
    with pytest.raises(type(error)) as caught:
        shared.call(Victim.fail, error, KeyError("why"))
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert str(caught.value.__cause__) == str(KeyError("why"))
    assert "victim.py" in caught.value.__notes__[0]  # where it was raised
    assert shared.call(Victim.count) == count + 1  # by the same object


def test_an_error_without_a_cause_has_none(shared: Decoder[Victim]) -> None:
    with pytest.raises(ValueError, match="a") as caught:
        shared.call(Victim.fail, ValueError("a"))
    assert caught.value.__cause__ is None


def test_an_error_that_cannot_be_sent_is_told(shared: Decoder[Victim]) -> None:
    with pytest.raises(RuntimeError, match="StubbornError: no because no"):
        shared.call(Victim.be_stubborn)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_call_that_ends_the_process_twice_is_a_crash(decoder: Decoder[Victim], name: str) -> None:
    with pytest.raises(DecoderCrash, match=f"the decoder was ended by {name}$"):
        decoder.call(Victim.die, getattr(signal, name))
    assert decoder.call(Victim.count) == 6  # a new one


def test_a_process_that_leaves_is_a_crash(decoder: Decoder[Victim]) -> None:
    with pytest.raises(DecoderCrash, match="ended by itself, with status 3"):
        decoder.call(Victim.leave, 3)


def test_a_call_is_made_again_because_another_may_have_broken_the_process(
    decoder: Decoder[Victim], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = tmp_path / "once"
    assert decoder.call(Victim.die, signal.SIGSEGV, once) == "alive"
    assert "ended by SIGSEGV; the call is made again" in caplog.text


def test_a_process_that_died_between_calls_is_replaced(decoder: Decoder[Victim]) -> None:
    pid = decoder.call(Victim.pid)
    os.kill(pid, signal.SIGKILL)
    assert ends(pid)
    assert decoder.call(Victim.count) == 6


def test_a_call_that_takes_too_long_is_ended(decoder: Decoder[Victim]) -> None:
    with closing(Decoder(Victim, 0.5)) as impatient:
        pid = impatient.call(Victim.pid)
        with pytest.raises(DecoderTimeout, match=r"no answer within 0\.5 s"):
            impatient.call(Victim.sleep, 600)
        assert ends(pid)
        assert impatient.call(Victim.count) == 1


def test_closed_and_forgotten_decoders_leave_no_process() -> None:
    decoder = Decoder(Victim, 60)
    pid = decoder.call(Victim.pid)
    decoder.close()
    assert not is_running(pid)
    again = decoder.call(Victim.pid)  # it may be used again
    del decoder
    assert not is_running(again)


PARENT = """
import os, signal, sys, threading
sys.path.insert(0, {tests!r})
from transforms.decoder import Decoder
from victim import Victim
decoder = Decoder(Victim, None)
print(decoder.call(Victim.pid), flush=True)
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        # In the midst of a call that is never over, and lets no thread run.
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "decoder.call(Victim.stop)",
        "sys.exit()",
        "os._exit(0)",
    ],
    ids=["killed", "killed in a call", "exit", "leaves"],
)
def test_no_process_outlives_its_parent(then: str) -> None:
    code = PARENT.format(tests=str(TESTS), then=then)
    parent = subprocess.run(
        [sys.executable, "-c", code], cwd=TESTS.parent, stdout=subprocess.PIPE, check=False
    )
    pid = int(parent.stdout)
    ended = ends(pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended


def test_the_process_runs_no_code_of_the_main_module(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    then = "print(decoder.call(Victim.search_path)[-1])"  # without a guard of __main__
    script.write_text(PARENT.format(tests=str(TESTS), then=then))
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == ["no file"]


def test_ctrl_c_is_for_the_parent(shared: Decoder[Victim]) -> None:
    assert shared.call(Victim.interrupt) == "alive"


def test_what_cannot_be_started_is_no_fault_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="cannot be started: the decoder was ended by itself"):
        Decoder(partial(int, "x"), 60).call(int.bit_length)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(RuntimeError, match=r"cannot be started: .*No such file"):
        Decoder(Victim, 60).call(Victim.pid)


def test_nothing_that_was_read_elsewhere_is_counted_twice(shared: Decoder[Victim]) -> None:
    take_network_use()
    shared.call(Victim.count)
    assert take_network_use().requests == 0
