"""Decoder: an object in a process of its own, because what it opens may kill or stop a process.

    call -> function and arguments -> child process -> what the function returns or raises

Pixels come back through a socket without being copied into a message first.
"""

import fcntl
import gc
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import numpy as np

from transforms.network_use import NetworkUse, add_network_use, take_network_use

Target = TypeVar("Target")
Result = TypeVar("Result")
P = ParamSpec("P")

START_SECONDS = 300.0
"""A new process imports its libraries meanwhile, on a machine that may be busy."""
_END_SECONDS = 10.0
"""A process that waits for a dead disk cannot be ended sooner than the disk answers."""
_PROGRAM = (
    "import gc, sys; gc.disable(); sys.path[:] = sys.argv[2:]; "
    "from transforms.decoder import serve; serve(int(sys.argv[1]))"
)
_log = logging.getLogger(__name__)


class DecoderError(OSError):
    """What was to be decoded cost the decoder its life, or is known to."""


class DecoderCrash(DecoderError):  # noqa: N818 - tables show the name
    """The decoder's process came to its end, by a signal or by itself."""


class DecoderTimeout(DecoderError):  # noqa: N818 - tables show the name
    """The decoder gave no answer in time, and its process was killed."""


class Decoder(Generic[Target]):
    """Holds an object in a process of its own, and calls its methods there.

    The process is started with the first call, and anew after it was lost. It ends when it is
    closed, when nobody refers to the decoder any more, and when this process ends, however it does.
    Like the object, it belongs to one thread at a time.
    """

    def __init__(self, make: Callable[[], Target], seconds: float | None) -> None:
        """Remember how the object is made, and how long a call may take (None: for ever).

        `make` is called in the process; it can be pickled, as can all arguments of calls.
        """
        self._make = make
        self._seconds = seconds
        self._process: _Process | None = None

    def call(
        self,
        function: Callable[Concatenate[Target, P], Result],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Result:
        """Call a function, which can be imported by its name, on the object.

        Raises what it raises: the same class and text, and the cause's text. Raises DecoderCrash if
        it ends the process twice: the first time, what was called before may have broken it. Raises
        DecoderTimeout if it takes too long. RuntimeError, if there can be no process, is a fault of
        the machine and of no file.
        """
        request = (function, arguments, named)
        try:
            return self._call(request)
        except DecoderCrash as error:
            _log.warning("%s; the call is made again in a new one", error)
        return self._call(request)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _call(self, request: object) -> Any:  # noqa: ANN401 - what the function returns
        if self._process is None:
            self._process = _Process(self._make)
        try:
            answer = self._process.ask(request, self._seconds)
        except BaseException:
            self.close()
            raise
        add_network_use(answer.use)
        if answer.error is not None:
            raise answer.error from (Exception(answer.cause) if answer.cause else None)
        return answer.result


@dataclass(frozen=True)
class _Answer:
    """What a call came to, and what it read over the network."""

    use: NetworkUse
    result: object = None
    error: Exception | None = None
    cause: str | None = None


class _Process:
    """A child process with an object."""

    def __init__(self, make: Callable[[], object]) -> None:
        ours, theirs = socket.socketpair()
        path = [folder or os.getcwd() for folder in sys.path]
        try:
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *path],
                    stdin=subprocess.PIPE,  # nothing is ever written: it ends when we do
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        except OSError as error:
            ours.close()
            raise RuntimeError(f"a decoder cannot be started: {error}") from error
        self._popen = process
        self._connection = Connection(ours.detach())
        self.end = weakref.finalize(self, _end, process, self._connection)
        try:
            self.ask(make, START_SECONDS)
        except DecoderError as error:
            self.end()
            raise RuntimeError(f"a decoder cannot be started: {error}") from error

    def ask(self, request: object, seconds: float | None) -> _Answer:
        """Return the answer; raises DecoderCrash or DecoderTimeout if there is none."""
        try:
            self._connection.send(request)
            if not self._connection.poll(seconds):
                raise DecoderTimeout(f"the decoder gave no answer within {seconds:g} s")
            answer: _Answer = _receive(self._connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise DecoderCrash(f"the decoder was ended by {self._how_it_ended()}") from None
        return answer

    def _how_it_ended(self) -> str:
        try:
            status = self._popen.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closing its connection"
        if status >= 0:
            return f"itself, with status {status}"
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        _log.warning("decoder %d does not end: does it wait for a disk?", process.pid)


def serve(descriptor: int) -> None:
    """Make the object that is asked for, and answer calls until nobody is left to ask."""
    _end_with_parent()
    connection = Connection(descriptor)
    target = connection.recv()()
    # Until here modules were imported, in which there is no garbage to look for.
    gc.freeze()
    gc.enable()
    _send(connection, _Answer(NetworkUse()))
    while True:
        try:
            function, arguments, named = connection.recv()
        except EOFError:
            return
        _send(connection, _answer(partial(function, target, *arguments, **named)))


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent does, even in the midst of a call.

    The parent alone holds the other end of our standard input: when that is closed, SIGIO comes.
    Nothing in Python needs to run for that, as a thread that waits would.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _answer(call: Callable[[], object]) -> _Answer:
    try:
        result = call()
    except Exception as error:
        cause = None if error.__cause__ is None else str(error.__cause__)
        return _Answer(take_network_use(), error=_sendable(error), cause=cause)
    return _Answer(take_network_use(), result)


def _sendable(error: Exception) -> Exception:
    """Return an error that arrives as it is, with its traceback as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own methods raise
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _send(connection: Connection, answer: _Answer) -> None:
    """Send an answer, and the memory of its arrays behind it."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(answer, protocol=5, buffer_callback=arrays.append)
    views = [array.raw() for array in arrays]
    connection.send((head, [view.nbytes for view in views]))
    for view in views:
        while view:
            view = view[os.write(connection.fileno(), view) :]


def _receive(connection: Connection) -> Any:  # noqa: ANN401 - whatever was sent
    head, sizes = connection.recv()
    return pickle.loads(head, buffers=[_receive_bytes(connection, size) for size in sizes])


def _receive_bytes(connection: Connection, size: int) -> memoryview:
    # Memory that is not cleared first, unlike that of a bytearray.
    view = rest = np.empty(size, np.uint8).data
    while rest:
        count = os.readv(connection.fileno(), [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
    return view
