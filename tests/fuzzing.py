"""Fuzzing: what must hold whatever a file contains, and how a case is judged.

A case is a target and a seed. It is made in an empty folder, used as the program would use it, and
has to end as a result or as a refusal whose message names the file. Nothing may be written outside
of its folder, and nobody may be asked over a network.
"""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
from rasterio.errors import RasterioError

REFUSALS = (ValueError, OSError, RasterioError)
"""What says that a file cannot be used."""


class Violation(BaseException):
    """Something that must not happen, whatever a file contains; nothing may catch it."""


@dataclass(frozen=True)
class Target:
    """A door of the program: `make` writes a case and returns its file, `use` says what it was.

    `speaks` are words of which one must stand in the message of a refusal, beside the file's name.
    """

    name: str
    make: Callable[[Random, Path], Path]
    use: Callable[[Path], str]
    speaks: tuple[str, ...] = ()


def judge(target: Target, random: Random, sandbox: Path, *, seconds: float = 20) -> str:
    """Make a case in the sandbox and use it; return how it ended, in a word.

    Raises Violation for what must not happen, and any exception that is no refusal.
    """
    folder = fresh_case(sandbox)
    path = target.make(random, folder)
    around = _listing(sandbox)
    with _confined(sandbox), _time_limit(seconds):
        try:
            ended = target.use(path)
        except REFUSALS as error:
            _check_words(error, path, target)
            ended = "refused"
    if _listing(sandbox) != around:
        raise Violation(f"files outside of the case changed: {_listing(sandbox)}")
    return ended


def fresh_case(sandbox: Path) -> Path:
    """Return the empty folder of a case, beside a secret and an empty working folder."""
    folder = sandbox / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (sandbox / "cwd").mkdir(exist_ok=True)
    (sandbox / "secret.txt").write_text("secret")
    return folder


def _listing(sandbox: Path) -> list[tuple[str, int]]:
    """Return names and sizes of what lies around the case."""
    found = [path for path in sandbox.iterdir() if path.name != "case"]
    found += list((sandbox / "cwd").iterdir())
    return sorted((str(path), path.stat().st_size if path.is_file() else 0) for path in found)


def _check_words(error: Exception, path: Path, target: Target) -> None:
    words = (path.name, path.stem, str(path.parent), "input.", *target.speaks)
    if not any(word in str(error) for word in words):
        raise Violation(f"{type(error).__name__} names no file: {error}") from error


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise Violation after some seconds; a hang in native code ends the process."""

    def too_long(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 5)
        raise Violation(f"a case takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _confined(sandbox: Path) -> Iterator[None]:
    """Let a case work in a folder of its own, without a network, and write nowhere else."""
    with pytest.MonkeyPatch.context() as patch, _watched(sandbox):
        trap = _trap()
        proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, proxy)
        patch.setenv("GDAL_HTTP_MAX_RETRY", "0")
        patch.setenv("GDAL_HTTP_TIMEOUT", "2")
        patch.delenv("NO_PROXY", raising=False)
        patch.setattr(socket.socket, "connect", _no_network)
        patch.setattr(socket.socket, "connect_ex", _no_network)
        patch.setattr(socket, "getaddrinfo", _no_network)
        patch.chdir(sandbox / "cwd")
        yield
        if _caught(trap):
            raise Violation("native code asked for something over the network")


def _caught(trap: socket.socket) -> int:
    """Return how many connections were made since somebody looked, and end them."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            trap.accept()[0].close()
            count += 1
    return count


def _no_network(*arguments: Any, **_: Any) -> None:
    raise Violation(f"a connection was wanted: {arguments[-1]!r}")


@cache
def _trap() -> socket.socket:
    """Return what listens where native code takes its proxy to be."""
    trap = socket.socket()
    trap.bind(("127.0.0.1", 0))
    trap.listen()
    trap.setblocking(False)
    return trap


_watch: dict[str, Any] = {"folder": None, "seen": []}
"""Where the audit hook looks: Python cannot take it away again, so it is there once."""


@cache
def _install_hook() -> None:
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or _watch["folder"] is None or not isinstance(arguments[0], str):
        return
    path, _, flags = arguments
    if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    place = os.path.realpath(path)
    if not place.startswith((_watch["folder"], "/dev/")) and "__pycache__" not in place:
        _watch["seen"].append(place)


@contextmanager
def _watched(sandbox: Path) -> Iterator[None]:
    _install_hook()
    _watch.update(folder=os.path.realpath(sandbox), seen=[])
    try:
        yield
    finally:
        _watch["folder"] = None
    if _watch["seen"]:
        raise Violation(f"files were opened for writing: {_watch['seen'][:3]}")
