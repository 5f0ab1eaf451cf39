"""An object for tests of decoders: it counts, fails, dies and stops as it is told."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class StubbornError(ValueError):
    """An error that can be pickled, but not unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} because {why}")


class Victim:
    """Lives in a decoder."""

    def __init__(self, start: int = 0) -> None:
        """Begin to count somewhere."""
        self._count = start

    def count(self) -> int:
        """Return how often this was called, and where the count began."""
        self._count += 1
        return self._count

    def pid(self) -> int:
        """Return the number of the process."""
        return os.getpid()

    def search_path(self) -> list[str]:
        """Return where the process looks for modules, and whether there is code of ours."""
        return [*sys.path, getattr(sys.modules["__main__"], "__file__", "no file")]

    def echo(self, value: object) -> object:
        """Return what was given."""
        return value

    def die(self, by: int, once: Path | None = None) -> str:
        """End the process by a signal: every time, or if there is no file of that name yet."""
        if once is None or not once.exists():
            if once is not None:
                once.touch()
            os.kill(os.getpid(), by)
        return "alive"

    def leave(self, status: int) -> None:
        """End the process as a library may."""
        os._exit(status)

    def sleep(self, seconds: float) -> None:
        """Take time."""
        time.sleep(seconds)

    def stop(self) -> None:
        """Never return, and hold Python's lock, so that no other thread runs either."""
        while True:
            ctypes.PyDLL(None).pause()

    def fail(self, error: Exception, cause: Exception | None = None) -> None:
        """Raise an error."""
        raise error from cause

    def be_stubborn(self) -> None:
        """Raise an error that cannot be sent."""
        raise StubbornError("no", "no")

    def interrupt(self) -> str:
        """Do to the process what Ctrl-C does."""
        os.kill(os.getpid(), signal.SIGINT)
        return "alive"

    def columns(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return every second column, which is no piece of memory."""
        return array[:, ::2]
