"""The main job: deblur every tile, detect before and after, report what was gained."""

from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.pvalue import PDone

from pipeline.mosaics import MakeMosaics
from pipeline.planning import Plan
from pipeline.progress import ReportProgress
from pipeline.reports import Reports
from transforms.cores import WriteCores
from transforms.deblur import Deblur
from transforms.detect import Detect
from transforms.histograms import SumHistograms
from transforms.measure import Measure, settled_of
from transforms.read import ReadTiles
from transforms.reconcile import Reconcile
from transforms.records import Rejected, Settled, TileRow
from transforms.seams import SumSeams
from transforms.summarize import Summarize
from transforms.write import WriteTable


@dataclass
class DetectionGain(beam.PTransform):
    """Deblur every tile, detect before and after, report what was gained.

    `progress` is a folder for the live progress bar.
    """

    plan: Plan
    progress: Path

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, root: beam.Pipeline) -> PDone:
        """Read, deblur, detect, measure; the tables in the output folder are the result."""
        config = self.plan.config
        batch = config.engine.batch_size
        deblurred = (
            root
            | "Scenes" >> beam.Create(self.plan.scenes, reshuffle=False)
            | "ReadTiles" >> ReadTiles(config, self.plan.names)
            | "Gather" >> beam.BatchElements(min_batch_size=batch, max_batch_size=batch)
            | "Deblur" >> Deblur(config)
        )
        if config.mosaic.write:
            deblurred = deblurred | "WriteCores" >> WriteCores(config)
        measured = (
            deblurred | "Detect" >> Detect(config.detect) | "Measure" >> Measure(self.plan.ruler)
        )
        histograms = measured | "Histograms" >> SumHistograms()
        reconciled = (
            measured
            | "Settle" >> beam.Map(settled_of)
            | "ReportProgress" >> ReportProgress(self.progress)
            | "Reconcile" >> Reconcile(self.plan.ruler.border)
        )
        unopened = root | "Unopened" >> beam.Create(self.plan.rejected, reshuffle=False)
        settled = (reconciled, unopened) | "Settled" >> beam.Flatten()
        rows = settled | "Rows" >> beam.Filter(is_row).with_output_types(TileRow)
        rejected = settled | "Rejected" >> beam.Filter(is_rejected).with_output_types(Rejected)
        if config.mosaic.write:
            unmade = settled | "MakeMosaics" >> MakeMosaics(self.plan)
            rejected = (rejected, unmade) | "AllRejected" >> beam.Flatten()
        numbers = rows | "Summarize" >> Summarize(self.plan.reporter)
        seams = measured | "Seams" >> SumSeams()
        summary = (numbers, seams) | "Summary" >> beam.Flatten()
        reports = Reports.of(self.plan)
        _ = rows | "WriteTiles" >> WriteTable(*reports.tiles)
        _ = rows | "WriteDetections" >> WriteTable(*reports.detections)
        _ = rows | "WriteLedger" >> WriteTable(*reports.ledger)
        _ = histograms | "WriteHistograms" >> WriteTable(*reports.histograms)
        _ = summary | "WriteSummary" >> WriteTable(*reports.summary)
        _ = rejected | "WriteRejected" >> WriteTable(*reports.rejected)
        return PDone(root)


def is_rejected(settled: Settled) -> bool:
    """Say whether a planned window ended without a result."""
    return isinstance(settled, Rejected)


def is_row(settled: Settled) -> bool:
    """Say whether a planned window ended as a row of the table `tiles`."""
    return not is_rejected(settled)
