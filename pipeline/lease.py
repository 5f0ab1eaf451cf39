"""The lease of an output folder: one run at a time, and none for ever.

`OUT/_work/lease.json` names who works there, and holds a number that its holder increases while it
lives. Nobody compares clocks: whoever finds a lease of another machine watches whether that number
moves. On a file system takers queue behind a lock of a few milliseconds. An object store lets only
one of two writers create an object where it can (S3 does); where it cannot, both look again.
"""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from filelock import FileLock
from upath import UPath

from transforms.storage import is_file, is_local, reaching, write_bytes_whole
from transforms.workplace import FOLDER

NAME = "lease.json"
BEAT_SECONDS = 10.0
PATIENCE = 4
"""Beats that a lease of another machine may miss before its holder is taken for dead."""

_log = logging.getLogger(__name__)


class LeaseError(ValueError):
    """Another run works in the output folder."""


class LeaseLostError(RuntimeError):
    """Another run took the output folder over, because this one seemed dead."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: an attempt, its process, and a number that moves while it lives."""

    attempt: str
    host: str
    machine: str
    pid: int
    started: float
    beat: int = 0

    @staticmethod
    def here(attempt: str) -> "Holder":
        """Return this process."""
        started = start_of(os.getpid())
        assert started is not None
        return Holder(attempt, platform.node(), machine_id(), os.getpid(), started)

    @property
    def is_dead(self) -> bool:
        """Say whether the process is known to be gone; of another machine nobody knows."""
        return self.machine == machine_id() and start_of(self.pid) != self.started


def start_of(pid: int) -> float | None:
    """Return a number that tells a process from others of its id; None if it has ended.

    On Linux it is the time since the machine was started: the time of day at which a process began
    is another one after the clock was set.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if not stat.is_file():
            return process.create_time()
        # The second field is the name in parentheses, which may hold anything.
        return float(stat.read_text().rpartition(")")[2].split()[19])
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def machine_id() -> str:
    """Return what tells the processes that we can see from those of any other machine.

    That is this machine since it was started, and of the containers on it this one.
    """
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    known = boot.read_text().strip() if boot.is_file() else str(uuid.getnode())
    seen = os.readlink(processes) if processes.is_symlink() else ""
    return f"{platform.node()} {known} {seen}".strip()


class Lease:
    """A lease that is held; `check` raises when it is lost."""

    def __init__(self, path: UPath, holder: Holder) -> None:
        self._path, self._holder = path, holder
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseLostError if another run has taken the folder over."""
        if self._lost:
            raise LeaseLostError(
                f"another run took {self._path.parent.parent} over while this one did not answer: "
                "nothing of this one is published"
            )

    def is_held(self) -> bool:
        """Look at the lease now, and say whether it is ours; where nobody can look, as it was."""
        with suppress(OSError):
            self._renew()
        return not self._lost

    def confirm(self) -> None:
        """Look at the lease now, and raise LeaseLostError if it is not ours."""
        self._renew()
        self.check()

    def release(self) -> None:
        """Give the folder free; where the storage does not let us, the next run waits."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)  # a store that hangs holds the thread, too
        try:
            found = _read(self._path)
            if found is not None and found.attempt == self._holder.attempt:
                with reaching(self._path):
                    self._path.unlink(missing_ok=True)
        except OSError as error:  # nothing that the run has done is the worse for it
            _log.warning("the lease cannot be given back: %s", error)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._renew()
            except OSError as error:  # of a store that is away: others see no beat meanwhile
                _log.warning("the lease cannot be renewed: %s", error)

    def _renew(self) -> None:
        with _alone(self._path):
            found = _read(self._path)
            if found is None or found.attempt != self._holder.attempt:
                self._lost = True
                return
            self._holder = replace(self._holder, beat=self._holder.beat + 1)
            write_bytes_whole(self._path, _to_bytes(self._holder))


@contextmanager
def leased(output: UPath, attempt: str, *, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of a folder while the block runs; `say` tells why one has to wait.

    Raises LeaseError if another run works there, StorageError or OSError if nobody can write there.
    """
    lease = Lease(output / FOLDER / NAME, _acquire(output, Holder.here(attempt), say))
    try:
        yield lease
    finally:
        lease.release()


def _acquire(output: UPath, me: Holder, say: Callable[[str], None]) -> Holder:
    path = output / FOLDER / NAME
    if is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with _alone(path):
            found = _read(path)
            if found is None or found.is_dead:
                if found is not None:
                    say(f"the run of process {found.pid} in {output} is gone: its work goes on")
                if _take(path, me, instead_of=found):
                    return me
                continue
        if found.machine == me.machine:
            raise LeaseError(_refusal(output, found))
        say(
            f"{output} is held by process {found.pid} on {found.host}: waiting "
            f"{PATIENCE * BEAT_SECONDS:.0f} s for a sign of life"
        )
        time.sleep(PATIENCE * BEAT_SECONDS)
        with _alone(path):
            again = _read(path)
            if again is not None and again != found:
                raise LeaseError(_refusal(output, again))
            if _take(path, me, instead_of=again):
                return me


def _take(path: UPath, me: Holder, *, instead_of: Holder | None) -> bool:
    """Write our lease where there is none, or a dead one, and say whether it is ours now."""
    content = _to_bytes(me)
    if is_local(path):
        write_bytes_whole(path, content)
        return True
    with reaching(path):
        if instead_of is not None:
            path.unlink(missing_ok=True)
        try:
            path.fs.pipe_file(path.path, content, mode="create")
        except FileExistsError:
            return False
        except (TypeError, NotImplementedError):  # a store whose client cannot create only
            path.fs.pipe_file(path.path, content)
    time.sleep(1)  # whoever deleted our lease for the dead one's has written his by now
    return _read(path) == me


def _alone(path: UPath) -> AbstractContextManager[object]:
    """Keep others of this file system out for a moment; a store has no locks."""
    if not is_local(path):
        return nullcontext()
    return FileLock(f"{path}.lock", timeout=60)


def _read(path: UPath) -> Holder | None:
    """Return who holds a lease; nobody if there is none, or none that can be understood."""
    if not is_file(path):
        return None
    try:
        with reaching(path):
            content = path.read_bytes()
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        return None
    except OSError as error:  # a store's StorageError has the client's own error as cause
        if isinstance(error.__cause__ or error, FileNotFoundError):
            return None
        raise


def _to_bytes(holder: Holder) -> bytes:
    return f"{json.dumps(asdict(holder))}\n".encode()


def _refusal(output: UPath, holder: Holder) -> str:
    return (
        f"another run works in {output}: process {holder.pid} on {holder.host}. Wait for its end, "
        "or end it, and start again"
    )
