"""KeepUnits and `resume`: what is finished is kept, and not done again.

Window -> is its result on storage? -> missing | finished
MeasuredTile | TileRow | Rejected -> on storage -> the same
"""

import json
import logging
from collections.abc import Set
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from transforms.counters import TILES, WRITTEN, count_settled, note_memory
from transforms.logs import LogForm, about, log_reject
from transforms.measure import MeasuredTile, settled_of
from transforms.records import Rejected, Scene, Settled, Window
from transforms.redaction import redact_all
from transforms.stopwatch import Stopwatch
from transforms.storage import names_in, reaching, write_bytes_whole
from transforms.unit_files import Finished, UnitError, decode_unit, encode_unit, is_sealed
from transforms.workplace import Workplace

MISSING, FINISHED = "missing", "finished"
SCENES_AT_HAND = 256
"""Of how many scenes a worker remembers which files are kept."""

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

    def list_kept(self, scene: Scene) -> frozenset[str]:
        """Return the names of the files that are kept of a scene."""
        return frozenset(names_in(self.place.unit_folder(scene)))

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

    def keep(self, outcome: MeasuredTile | Settled) -> int:
        """Keep a result, or note a reject; return the bytes written."""
        if isinstance(outcome, Rejected):
            path = self.place.reject_path(outcome.key)
            content = json.dumps(redact_all(asdict(outcome)), ensure_ascii=False).encode()
        else:
            settled = settled_of(outcome)
            assert not isinstance(settled, Rejected)
            path, content = self.place.unit_path(settled.window), encode_unit(outcome)
        write_bytes_whole(path, content)
        return len(content)

    def _has_core(self, finished: Finished, window: Window, kept: Set[str]) -> bool:
        if not self.cores or window.scene.name in self.assembled:
            return True
        row = finished.row if isinstance(finished, MeasuredTile) else finished
        if row.status == "empty" or row.skipped or row.fallback:
            return True
        path = self.place.core_path(window.scene, window.core)
        if path.name not in kept:
            return False
        with reaching(path):
            whole = is_sealed(path.read_bytes())
        if not whole:
            _log.warning("%s is done again: %s is damaged", window.key, path)
        return whole


def resume(keeper: Keeper, log: LogForm | None = None) -> beam.PTransform:
    """Return what parts windows: `MISSING` are to do, `FINISHED` the results of the others.

    Worker processes log as `log` says from here on; without it, as they do.
    """
    return beam.ParDo(_Look(keeper, log)).with_outputs(FINISHED, main=MISSING)


class _Look(beam.DoFn):
    """Holds which files there are of the scenes seen last; the work is in `Keeper.find`."""

    def __init__(self, keeper: Keeper, log: LogForm | None) -> None:
        self._keeper = keeper
        self._log = log
        self._stopwatch = Stopwatch("resume")
        self._resumed = Metrics.counter(TILES, "resumed")

    def setup(self) -> None:
        # Windows come mixed from many scenes.
        self._list_kept = lru_cache(SCENES_AT_HAND)(self._keeper.list_kept)
        if self._log is not None:
            self._log.install()

    def process(self, window: Window) -> list[Window | TaggedOutput[Literal["finished"], Finished]]:
        with self._stopwatch.running(), about([window]):
            finished = self._keeper.find(window, self._list_kept(window.scene))
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
        return measured | "Keep" >> beam.ParDo(_Keep(self.keeper))


class _Keep(beam.DoFn):
    """Counts how windows end, and warns of rejects; the work is in `Keeper.keep`."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._stopwatch = Stopwatch("keep")
        self._written = Metrics.counter(WRITTEN, "units")

    def process(self, outcome: MeasuredTile | Settled) -> list[MeasuredTile | Settled]:
        settled = settled_of(outcome)
        with self._stopwatch.running():
            self._written.inc(self._keeper.keep(outcome))
        count_settled(settled)
        if isinstance(settled, Rejected):
            log_reject(settled, self._keeper.place.output)
        return [outcome]

    def finish_bundle(self) -> None:
        note_memory()
