"""Commands whose libraries are there already: forked from a process that has imported them."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reliability import Run


class WarmRun(Run):
    """A command whose libraries are there already."""

    def start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> "Forked":
        """Fork the command from a process that has imported what it needs."""
        return Forked(command, folder, environment)


class Forked:
    """A process of multiprocessing with the methods of one of subprocess."""

    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload(["pipeline.run"])

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        arguments = (command[1:], folder, dict(environment))
        self._process = self._context.Process(target=be_command, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Return the exit code; raise TimeoutExpired if there is none in time."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("aerial-deblur", seconds)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)


def be_command(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Be the command, as from a shell."""
    from pipeline.cli import main

    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    log = os.open("log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.exit(main(arguments))
