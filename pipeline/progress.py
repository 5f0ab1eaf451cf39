"""A live progress bar for any engine: what is finished lies in the output, and the driver counts.

Beam's local runner reports nothing until it ends, and a cluster's metrics come late. Every finished
window is a file of its own (see `transforms.workplace`), on whatever machine it was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from transforms.records import Window
from transforms.storage import names_below, names_in
from transforms.workplace import REJECT, UNIT, Workplace, window_name


@dataclass(frozen=True)
class Tally:
    """What has been settled so far: windows, rejects among them, and the pixels of the others."""

    windows: int = 0
    pixels: int = 0
    rejected: int = 0


class Tallier:
    """Counts what is settled of the windows of a run."""

    def __init__(self, place: Workplace, windows: Sequence[Window]) -> None:
        self._place = place
        self._areas: dict[str, dict[str, int]] = {}
        for window in windows:
            scene = self._areas.setdefault(place.scene_id(window.scene), {})
            scene[f"{window_name(window)}{UNIT}"] = window.core.area

    def read(self) -> Tally:
        """Look into the output."""
        kept = names_below(self._place.units, self._areas)
        finished = [
            areas[name]
            for scene, areas in self._areas.items()
            for name in kept[scene]
            if name in areas
        ]
        rejects = names_in(self._place.rejects)
        rejected = sum(name.endswith(REJECT) and not name.startswith(".") for name in rejects)
        return Tally(len(finished) + rejected, sum(finished), rejected)


class ProgressBar:
    """Shows how many of the planned windows are settled, and how fast; a context manager."""

    def __init__(self, console: Console, *, planned: int, unopened: int) -> None:
        """`unopened` of the `planned` windows are rejects already."""
        self._unopened = unopened
        self._first: Tally | None = None
        self._bar = Progress(
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
        self._task = self._bar.add_task("tiles", total=planned, speed="", rejects=unopened)

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, tally: Tally) -> None:
        """Show what is settled now; the speed is that since the first call."""
        self._first = self._first or tally
        self._bar.update(
            self._task,
            completed=tally.windows + self._unopened,
            speed=f"{self._speed(tally, self._first):.2f} MPix/s",
            rejects=tally.rejected + self._unopened,
        )

    def _speed(self, tally: Tally, first: Tally) -> float:
        elapsed = self._bar.tasks[self._task].elapsed or 0.0
        return (tally.pixels - first.pixels) / 1e6 / elapsed if elapsed > 0 else 0.0
