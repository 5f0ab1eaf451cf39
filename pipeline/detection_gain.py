"""The main job: deblur every tile, detect before and after, report what was gained."""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PDone

from pipeline.measure_windows import MeasureWindows
from pipeline.mosaics import MakeMosaics
from pipeline.planning import Plan
from pipeline.reports import Reports
from transforms.histograms import SumHistograms
from transforms.measure import settled_of
from transforms.read import PlanWindows
from transforms.reconcile import Reconcile
from transforms.records import Rejected, Settled, TileRow
from transforms.seams import SumSeams
from transforms.summarize import Summarize
from transforms.units import Keeper
from transforms.write import WriteTable


@dataclass
class DetectionGain(beam.PTransform):
    """Deblur every tile, detect before and after, report what was gained.

    What the `keeper` knows is not done again.
    """

    plan: Plan
    keeper: Keeper

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, root: beam.Pipeline) -> PDone:
        """Read, deblur, detect, measure; the tables in the output folder are the result."""
        plan, place = self.plan, self.keeper.place
        measured = (
            root
            | "Scenes" >> beam.Create(plan.scenes, reshuffle=False)
            | "PlanWindows" >> PlanWindows(plan.config)
            | "MeasureWindows" >> self._hinted(MeasureWindows(plan, self.keeper))
        )
        histograms = measured | "Histograms" >> SumHistograms()
        reconciled = (
            measured
            | "Settle" >> beam.Map(settled_of)
            | "Reconcile" >> Reconcile(plan.ruler.border)
        )
        unopened = root | "Unopened" >> beam.Create(plan.rejected, reshuffle=False)
        settled = (reconciled, unopened) | "Settled" >> beam.Flatten()
        rows = settled | "Rows" >> beam.Filter(is_row).with_output_types(TileRow)
        rejected = settled | "Rejected" >> beam.Filter(is_rejected).with_output_types(Rejected)
        if plan.config.mosaic.write:
            unmade = settled | "MakeMosaics" >> MakeMosaics(plan, place, self.keeper.assembled)
            rejected = (rejected, unmade) | "AllRejected" >> beam.Flatten()
        numbers = rows | "Summarize" >> Summarize(plan.reporter)
        seams = measured | "Seams" >> SumSeams()
        summary = (numbers, seams) | "Summary" >> beam.Flatten()
        reports = Reports.of(plan, place.staged)
        _ = rows | "WriteTiles" >> WriteTable(*reports.tiles)
        _ = rows | "WriteDetections" >> WriteTable(*reports.detections)
        _ = rows | "WriteLedger" >> WriteTable(*reports.ledger)
        _ = histograms | "WriteHistograms" >> WriteTable(*reports.histograms)
        _ = summary | "WriteSummary" >> WriteTable(*reports.summary)
        _ = rejected | "WriteRejected" >> WriteTable(*reports.rejected)
        return PDone(root)

    def _hinted(self, measure: MeasureWindows) -> beam.PTransform:
        """Ask for what the networks need; on the whole, for hints inside would part its stages."""
        engine = self.plan.config.engine
        hints = {"accelerator": engine.accelerator, "min_ram": engine.ram}
        return measure.with_resource_hints(**{k: v for k, v in hints.items() if v is not None})


def is_rejected(settled: Settled) -> bool:
    """Say whether a planned window ended without a result."""
    return isinstance(settled, Rejected)


def is_row(settled: Settled) -> bool:
    """Say whether a planned window ended as a row of the table `tiles`."""
    return not is_rejected(settled)
