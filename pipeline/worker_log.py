"""Where this process, and the workers that it starts, write what they have to say."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from upath import UPath

from configs.operations import ObserveConfig
from transforms.logs import TEXT, LogForm
from transforms.storage import is_local, put_file
from transforms.workplace import Workplace

LAST_LINES_SECONDS = 5.0
"""How long a log in JSON is waited for: a worker that does not end keeps it open."""
_PROGRAM = Path(__file__).with_name("log_lines.py")


def log_form(observe: ObserveConfig, run_id: str, place: Workplace) -> LogForm:
    """Return how the processes of a run's attempt log."""
    return LogForm(observe.log, run_id, place.staged.name)


@contextmanager
def workers_log_to(path: UPath, form: LogForm = TEXT) -> Iterator[TextIO]:
    """Send standard error to a file, for this process and those it starts; yield the terminal.

    Beam's worker processes inherit standard error and log dozens of lines about themselves there,
    which would tear the progress bar apart. What the user should see goes to the yielded stream.
    With JSON as the form every line of the file is an object, whoever printed it. A local file is
    appended to; an object of a store appears when the block ends.
    """
    with _local_log(path) as local:
        sys.stderr.flush()
        kept = os.dup(2)
        with (
            open(local, "ab") as file,
            os.fdopen(os.dup(kept), "w") as terminal,
            _sink(file, form) as sink,
            form.installed(),
        ):
            os.dup2(sink, 2)
            try:
                yield terminal
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                os.close(kept)


@contextmanager
def _sink(file: IO[bytes], form: LogForm) -> Iterator[int]:
    """Yield the descriptor to write lines to: the file's, or that of what turns them into JSON.

    That is a process, so that lines of workers are kept though this process is killed or busy.
    """
    if form.form == "text":
        yield file.fileno()
        return
    command = [sys.executable, "-I", str(_PROGRAM), form.run_id, form.attempt]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file)
    assert process.stdin is not None
    try:
        yield process.stdin.fileno()
    finally:
        process.stdin.close()
        end = threading.Thread(target=process.wait, daemon=True)
        end.start()
        end.join(LAST_LINES_SECONDS)


@contextmanager
def _local_log(path: UPath) -> Iterator[Path]:
    if is_local(path):
        yield Path(str(path))
        return
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-log-") as folder:
        local = Path(folder, path.name)
        try:
            yield local
        finally:
            put_file(local, path)
