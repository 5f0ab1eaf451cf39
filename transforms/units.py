"""KeepUnits and `resume`: what is finished is kept, and not done again.

Window -> is its result on storage? -> missing | finished
MeasuredTile | TileRow | Rejected -> on storage -> the same
"""

import json
import logging
from collections.abc import Set
from dataclasses import asdict, dataclass
from typing import Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from transforms.measure import MeasuredTile, settled_of
from transforms.records import Rejected, Settled, Window
from transforms.storage import find_files, reaching, write_bytes_whole
from transforms.unit_files import Finished, UnitError, decode_unit, encode_unit
from transforms.workplace import Workplace

MISSING, FINISHED = "missing", "finished"
NAMESPACE = "units"
"""Of the counters `resumed` and `damaged`."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeper:
    """Where results are kept, and when one is of use.

    With `cores`, a deblurred window also needs the pixels of its core, unless its scene is one of
    `assembled`: those whose mosaic is there already.
    """

    place: Workplace
    cores: bool = False
    assembled: Set[str] = frozenset()

    def list_kept(self, window: Window) -> frozenset[str]:
        """Return the names of the files that are kept of a window's scene."""
        folder = self.place.unit_folder(window.scene)
        return frozenset(path.name for path in find_files(folder, "*"))

    def find(self, window: Window, kept: Set[str]) -> Finished | None:
        """Return what is known of a window, of whose scene these files are `kept`; None if nothing.

        A damaged file is nothing. Raises StorageError or OSError if the storage cannot be read.
        """
        path = self.place.unit_path(window)
        if path.name not in kept:
            return None
        with reaching(path):
            content = path.read_bytes()
        try:
            finished = decode_unit(content)
        except UnitError as error:
            _log.warning("%s is done again: %s: %s", window.key, path, error)
            return None
        return finished if self._has_core(finished, window, kept) else None

    def keep(self, outcome: MeasuredTile | Settled) -> None:
        """Keep a result, or note a reject."""
        if isinstance(outcome, Rejected):
            note = json.dumps(asdict(outcome), ensure_ascii=False)
            write_bytes_whole(self.place.reject_path(outcome.key), note.encode())
            return
        settled = settled_of(outcome)
        assert not isinstance(settled, Rejected)
        write_bytes_whole(self.place.unit_path(settled.window), encode_unit(outcome))

    def _has_core(self, finished: Finished, window: Window, kept: Set[str]) -> bool:
        if not self.cores or window.scene.name in self.assembled:
            return True
        row = finished.row if isinstance(finished, MeasuredTile) else finished
        if row.status == "empty" or row.skipped or row.fallback:
            return True
        return self.place.core_path(window.scene, window.core).name in kept


def resume(keeper: Keeper) -> beam.PTransform:
    """Return what parts windows: `MISSING` are to do, `FINISHED` the results of the others."""
    return beam.ParDo(_Look(keeper)).with_outputs(FINISHED, main=MISSING)


class _Look(beam.DoFn):
    """Holds which files there are of the scene seen last; the work is in `Keeper.find`."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._resumed = Metrics.counter(NAMESPACE, "resumed")
        self._scene, self._kept = "", frozenset[str]()

    def process(self, window: Window) -> list[Window | TaggedOutput[Literal["finished"], Finished]]:
        if window.scene.name != self._scene:
            self._scene, self._kept = window.scene.name, self._keeper.list_kept(window)
        finished = self._keeper.find(window, self._kept)
        if finished is None:
            return [window]
        self._resumed.inc()
        return [TaggedOutput(FINISHED, finished)]


@dataclass
class KeepUnits(beam.PTransform):
    """Keep every result before it is handed on, so that it is never computed twice."""

    keeper: Keeper

    def expand(self, measured: beam.PCollection) -> beam.PCollection:
        """Map MeasuredTile, TileRow or Rejected to the same."""
        return measured | "Keep" >> beam.Map(keep_unit, self.keeper)


def keep_unit(outcome: MeasuredTile | Settled, keeper: Keeper) -> MeasuredTile | Settled:
    """Keep a result or note a reject, and return it."""
    keeper.keep(outcome)
    return outcome
