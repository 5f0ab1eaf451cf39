"""What a run writes: each table with the function that turns a record into its rows."""

from dataclasses import dataclass
from functools import partial

from upath import UPath

from pipeline.planning import Plan
from transforms.histogram_rows import histogram_rows
from transforms.rows import (
    detection_rows,
    ledger_rows,
    rejected_rows,
    summary_rows,
    tile_rows,
)
from transforms.tables import (
    DETECTIONS,
    HISTOGRAMS,
    LEDGER,
    REJECTED,
    SUMMARY,
    TILES,
    Table,
)
from transforms.write import Destination, ToRows

Report = tuple[Table, ToRows, Destination]
"""The arguments of `WriteTable`; `write_table` takes the records before them."""


@dataclass(frozen=True)
class Reports:
    """The tables of a run."""

    tiles: Report
    detections: Report
    ledger: Report
    histograms: Report
    summary: Report
    rejected: Report

    @staticmethod
    def of(plan: Plan, staged: UPath) -> "Reports":
        """Bind the settings of a run, whose tables are written below the folder `staged`."""
        config = plan.config
        threshold, report = config.detect.score_threshold, config.report
        destination = Destination(staged, plan.run_id, report.shards)
        found = partial(
            detection_rows,
            names=plan.names,
            min_score=threshold if report.min_score is None else report.min_score,
            crs=report.crs,
        )
        tiles = partial(tile_rows, threshold=threshold, clusters=plan.clusters, crs=report.crs)
        ledger = partial(ledger_rows, names=plan.names, crs=report.crs)
        rejected = partial(rejected_rows, output=str(config.output))
        return Reports(
            tiles=(TILES, tiles, destination),
            detections=(DETECTIONS, found, destination),
            ledger=(LEDGER, ledger, destination),
            histograms=(HISTOGRAMS, histogram_rows, destination),
            summary=(SUMMARY, summary_rows, destination),
            rejected=(REJECTED, rejected, destination),
        )
