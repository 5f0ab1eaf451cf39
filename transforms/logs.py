"""Log lines that say which run, attempt, scene and window they are about, in every process."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler
from pythonjsonlogger.json import JsonFormatter
from upath import UPath

from transforms.records import Rejected, Window
from transforms.rows import rejected_rows

PACKAGES = ("configs", "models", "pipeline", "transforms")
"""Our own loggers, which speak from INFO up; others from WARNING up, or as they are told."""
SHOWN = ("run_id", "attempt", "scene", "tile", "tiles", "stage")
"""What stands in brackets in lines of text."""

_NOTHING: Mapping[str, object] = MappingProxyType({})
_ABOUT = ContextVar("about", default=_NOTHING)
_REPEATS = "apache_beam.runners.portability.local_job_service"
"""Beam's logger that repeats what its local workers log; they write into the same file."""

_log = logging.getLogger(__name__)


@contextmanager
def about(windows: Sequence[Window]) -> Iterator[None]:
    """Let the lines that this thread logs within the block name these windows.

    One is the `tile` of a line, more are its `tiles`; their `scene` is there if they share it.
    """
    keys = [window.key for window in windows]
    scenes = {window.scene.name for window in windows}
    known: dict[str, object] = {"tile": keys[0]} if len(keys) == 1 else {"tiles": keys}
    if len(scenes) == 1:
        known["scene"] = scenes.pop()
    token = _ABOUT.set(known)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def log_reject(rejected: Rejected, output: UPath) -> None:
    """Warn of a reject, once, with the command that tries it again."""
    [row] = rejected_rows(rejected, output=str(output)).rows
    _log.warning(
        "rejected at %(stage)s: %(exception)s: %(message)s; to try it again: %(replay)s",
        row,
        extra={
            "scene": rejected.scene,
            "tile": rejected.key,
            "stage": rejected.stage,
            "exception": rejected.exception,
            "replay": row["replay"],
        },
    )


@dataclass(frozen=True)
class LogForm:
    """How the processes of a run log: as text or JSON, each line with the run and the attempt."""

    form: Literal["text", "json"] = "text"
    run_id: str = ""
    attempt: str = ""

    def install(self) -> None:
        """Let this process log so, to its standard error, if it does not already.

        What Beam has for its own service of logs stays, and gets the same lines.
        """
        root = logging.getLogger()
        if any(isinstance(handler, StderrHandler) for handler in root.handlers):
            return
        # Whoever logs before anything is set up gets such a handler: every line would come twice.
        others = [
            handler for handler in root.handlers if type(handler) is not logging.StreamHandler
        ]
        root.handlers[:] = [*others, StderrHandler()]
        for handler in root.handlers:
            if isinstance(handler, StderrHandler | FnApiLogRecordHandler):
                handler.addFilter(_complete)
                handler.setFormatter(self.formatter())
        root.setLevel(min(root.level, logging.WARNING) or logging.WARNING)
        for package in PACKAGES:
            logging.getLogger(package).setLevel(logging.INFO)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let this process log so within the block."""
        root = logging.getLogger()
        handlers = root.handlers[:]
        levels = {name: logging.getLogger(name).level for name in ("", *PACKAGES)}
        self.install()
        try:
            yield
        finally:
            root.handlers[:] = handlers
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)

    def formatter(self) -> logging.Formatter:
        """Return what makes a line of a record."""
        known = {"run_id": self.run_id, "attempt": self.attempt}
        if self.form == "text":
            return _TextFormatter(known)
        return JsonFormatter(
            ["levelname", "name", "message", "process"],
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields=known,
            timestamp="time",
            json_ensure_ascii=False,
        )


TEXT = LogForm()
"""Lines of text that name no run."""


class StderrHandler(logging.Handler):
    """Writes every line whole to the standard error of the process, wherever that goes by then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; several processes may write to one file."""
        if record.name == _REPEATS and str(record.msg).startswith("Worker: "):
            return
        try:
            os.write(2, f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # a line that cannot be written must not end the run
            self.handleError(record)


class _TextFormatter(logging.Formatter):
    def __init__(self, known: Mapping[str, object]) -> None:
        super().__init__("%(time)s %(levelname)s %(name)s [%(keys)s] %(message)s")
        self._known = known

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        keys = {**self._known, **{name: getattr(record, name, None) for name in SHOWN[2:]}}
        shown = [f"{name}={value}" for name, value in keys.items() if value]
        record.keys = " ".join([f"process={record.process}", *shown])
        time = datetime.fromtimestamp(record.created, UTC)
        record.time = time.isoformat(timespec="milliseconds")
        return super().formatMessage(record)


def _complete(record: logging.LogRecord) -> bool:
    """Give a record what its thread is about, unless it says so itself."""
    for name, value in _ABOUT.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True
