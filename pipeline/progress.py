"""A live progress bar for any local engine: workers append to files, the driver adds them up.

Beam's local runner reports nothing until it ends, so every settled window is one fixed-size record
in a file of its worker's own.
"""

import struct
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import apache_beam as beam
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from transforms.records import Rejected, Settled

Result = TypeVar("Result")

_RECORD = struct.Struct("<q")
_REJECTED = -1


@dataclass(frozen=True)
class Tally:
    """What has been settled so far."""

    tiles: int = 0
    pixels: int = 0
    rejected: int = 0


@dataclass
class ReportProgress(beam.PTransform):
    """Leave a trace of every settled window in a folder, and pass it on."""

    folder: Path

    def expand(self, settled: beam.PCollection) -> beam.PCollection:
        """Return what came in."""
        return settled | "Tick" >> beam.ParDo(_Tick(self.folder))


class _Tick(beam.DoFn):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None

    def process(self, settled: Settled) -> list[Settled]:
        if self._file is None:
            self._file = open(self._folder / uuid.uuid4().hex, "ab", buffering=0)  # noqa: SIM115
        area = _REJECTED if isinstance(settled, Rejected) else settled.window.core.area
        self._file.write(_RECORD.pack(area))
        return [settled]

    def teardown(self) -> None:
        if self._file is not None:
            self._file.close()


def read_tally(folder: Path) -> Tally:
    """Add up what all workers have settled; a record half written counts next time."""
    values = [
        value
        for path in folder.iterdir()
        for (value,) in _RECORD.iter_unpack(_whole_records(path.read_bytes()))
    ]
    pixels = [value for value in values if value != _REJECTED]
    return Tally(len(values), sum(pixels), len(values) - len(pixels))


def run_with_progress(
    run: Callable[[Path], Result], *, planned: int, opened: int, console: Console
) -> Result:
    """Call `run(folder)` in a thread and show what appears in the folder until it returns.

    `planned` windows in all, of which `planned - opened` are rejects already. What `run` raises is
    raised here.
    """
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-progress-") as name:
        folder = Path(name)
        outcome: list[Result] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                outcome.append(run(folder))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, name="pipeline")
        thread.start()
        with _bar(console) as bar:
            task = bar.add_task("tiles", total=planned, speed="", rejects=planned - opened)
            while thread.is_alive():
                thread.join(0.5)
                _show(bar, task, read_tally(folder), planned - opened)
    if failure:
        raise failure[0]
    return outcome[0]


def _show(bar: Progress, task: TaskID, tally: Tally, unopened: int) -> None:
    elapsed = bar.tasks[task].elapsed or 0.0
    speed = f"{tally.pixels / 1e6 / elapsed:.2f} MPix/s" if elapsed > 0 else ""
    bar.update(
        task,
        completed=tally.tiles + unopened,
        speed=speed,
        rejects=tally.rejected + unopened,
    )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("rejects {task.fields[rejects]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _whole_records(content: bytes) -> bytes:
    return content[: len(content) // _RECORD.size * _RECORD.size]
