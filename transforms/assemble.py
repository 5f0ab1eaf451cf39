"""AssembleMosaics: every deblurred scene as one file, when all of its windows are settled.

TileRow | Rejected -> receipts by scene -> Mosaic
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from upath import UPath

from configs.schema import RunConfig
from transforms.assembler import open_assembler
from transforms.logs import log_reject
from transforms.mosaic_status import CLASSES, Receipt, receipts_of
from transforms.network import NetworkMeter
from transforms.records import Rejected, Scene, Settled
from transforms.scene_mosaic import DATA, MOSAICS, STATUS, Mosaic, assemble_mosaic
from transforms.stopwatch import Stopwatch
from transforms.storage import find_files, reaching
from transforms.workplace import CORE, Workplace, safe_name

FOR_MOSAICS = "mosaic_"
"""What stands before the names of the counters of what assembling reads over the network."""


def assemble_mosaics(
    settled: Iterable[Settled],
    scenes: Sequence[Scene],
    config: RunConfig,
    tags: Mapping[str, str],
    place: Workplace,
) -> list[Mosaic | Rejected]:
    """Return the mosaic of every scene, from how its windows ended and the cores on storage.

    `tags` say in every mosaic what was done. See `assemble_mosaic`.
    """
    receipts: dict[str, list[Receipt]] = defaultdict(list)
    for each in settled:
        for receipt in receipts_of(each):
            receipts[receipt.scene].append(receipt)
    return [assemble_mosaic(scene, receipts[scene.name], config, tags, place) for scene in scenes]


def mosaic_tags(config: RunConfig, *, version: str, run_id: str, sha256: str) -> dict[str, str]:
    """Return what a mosaic says of itself: metadata of the file, in the order of their names.

    `sha256` is that of the deblurrer's weights.
    """
    values = ", ".join(f"{value} {text}" for value, (_, text) in CLASSES.items())
    return {
        "AERIAL_DEBLUR_LOCK": "low frequencies of the input" if config.deblur.lock else "none",
        "AERIAL_DEBLUR_NORMALISATION": config.deblur.normalisation,
        "AERIAL_DEBLUR_RUN_ID": run_id,
        "AERIAL_DEBLUR_STATUS": f"The file {STATUS} beside says of every pixel: {values}.",
        "AERIAL_DEBLUR_VERSION": version,
        "AERIAL_DEBLUR_WEIGHTS": Path(config.deblur.weights).name,
        "AERIAL_DEBLUR_WEIGHTS_SHA256": sha256,
        "TIFFTAG_SOFTWARE": f"aerial-deblur {version}",
    }


def clean_cores(place: Workplace) -> None:
    """Remove what a run needed for its mosaics. Until then any of them can be made again."""
    for path in find_files(place.units, f"*/*{CORE}"):
        with reaching(path):
            path.unlink(missing_ok=True)


def drop_stale_mosaics(output: UPath, scenes: Sequence[Scene]) -> None:
    """Remove the mosaics, of an earlier run, of scenes that this run does not have."""
    names = [safe_name(scene.name) for scene in scenes]
    ours = {f"{name}{ending}" for name in names for ending in (DATA, STATUS)}
    for path in find_files(output / MOSAICS, "*.tif"):
        if path.name.endswith((DATA, STATUS)) and path.name not in ours:
            path.unlink()


class _AssembleMosaic(beam.DoFn):
    """Holds what makes mosaics on a worker; the work is in `assemble_mosaic`."""

    def __init__(self, config: RunConfig, tags: Mapping[str, str], place: Workplace) -> None:
        self._config = config
        self._tags = tags
        self._place = place
        self._stopwatch = Stopwatch("mosaic")
        self._network = NetworkMeter(FOR_MOSAICS)

    def setup(self) -> None:
        self._assembler = open_assembler(self._config, self._tags, self._place)

    def process(
        self, scene: tuple[str, Mapping[str, Iterable[Any]]]
    ) -> Iterator[Mosaic | Rejected]:
        _, joined = scene
        for each in joined["scenes"]:
            with self._stopwatch.running():
                mosaic = self._assembler.assemble(each, joined["receipts"])
            self._network.count()
            if isinstance(mosaic, Rejected):
                log_reject(mosaic, self._place.output)
            yield mosaic

    def teardown(self) -> None:
        self._assembler.close()


@dataclass
class AssembleMosaics(beam.PTransform):
    """Write the mosaic of every scene when all of its windows are settled; `tags` go into each."""

    scenes: Sequence[Scene]
    config: RunConfig
    tags: Mapping[str, str]
    place: Workplace

    def expand(self, settled: beam.PCollection) -> beam.PCollection:
        """Turn TileRow or Rejected into one `Mosaic`, or `Rejected`, per scene."""
        receipts = settled | "Receipts" >> beam.FlatMap(keyed_receipts)
        scenes = settled.pipeline | "Mosaics" >> beam.Create(
            [(scene.name, scene) for scene in self.scenes], reshuffle=False
        )
        return (
            {"scenes": scenes, "receipts": receipts}
            | "ByScene" >> beam.CoGroupByKey()
            | "Assemble" >> beam.ParDo(_AssembleMosaic(self.config, self.tags, self.place))
        )


def keyed_receipts(settled: Settled) -> list[tuple[str, Receipt]]:
    """Return the receipt of a settled window under the name of its scene."""
    return [(receipt.scene, receipt) for receipt in receipts_of(settled)]
