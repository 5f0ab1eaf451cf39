"""MeasureWindows: from windows to numbers, on one worker each; pixels never leave this stage."""

from dataclasses import dataclass

import apache_beam as beam

from pipeline.planning import Plan
from pipeline.worker_log import log_form
from transforms.cores import WriteCores
from transforms.deblur import Deblur
from transforms.detect import Detect
from transforms.measure import Measure
from transforms.read import ReadTiles
from transforms.units import FINISHED, MISSING, Keeper, KeepUnits, resume


@dataclass
class MeasureWindows(beam.PTransform):
    """Read, deblur, detect and measure the windows of which no result is kept, and keep it."""

    plan: Plan
    keeper: Keeper

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, windows: beam.PCollection) -> beam.PCollection:
        """Map Window to MeasuredTile, TileRow (empty) or Rejected."""
        config = self.plan.config
        batch = config.engine.batch
        form = log_form(config.observe, self.plan.run_id, self.keeper.place)
        known = windows | "Resume" >> resume(self.keeper, form)
        deblurred = (
            known[MISSING]
            | "ReadTiles" >> ReadTiles(config, self.plan.names)
            | "Gather" >> beam.BatchElements(min_batch_size=batch, max_batch_size=batch)
            | "Deblur" >> Deblur(config)
        )
        if config.mosaic.write:
            cores = WriteCores(config.input, self.keeper.place, config.engine.read_seconds)
            deblurred = deblurred | "WriteCores" >> cores
        measured = (
            deblurred
            | "Detect" >> Detect(config.detect)
            | "Measure" >> Measure(self.plan.ruler)
            | "KeepUnits" >> KeepUnits(self.keeper)
        )
        return (measured, known[FINISHED]) | "All" >> beam.Flatten()
