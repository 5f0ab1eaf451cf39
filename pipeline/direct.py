"""The main job as a plain loop: for small data, for replays, and the oracle of the tests."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from pipeline.mosaics import describe_mosaics, make_mosaics
from pipeline.planning import Plan
from pipeline.publish import tidy
from pipeline.reports import Reports
from transforms.arms import make_arms
from transforms.cores import CoreReader, write_cores
from transforms.deblur import (
    DeblurPolicy,
    Network,
    deblur_tiles,
    load_deblurrer,
    open_networks,
)
from transforms.detect import FindObjects, detect_tiles, load_detector
from transforms.ground import open_ground
from transforms.histogram_rows import sum_histograms
from transforms.measure import MeasuredTile, histograms_of, measure_tiles, settled_of
from transforms.parquet import Part
from transforms.read import read_tile
from transforms.reconcile import reconcile
from transforms.records import DetectedTile, Rejected, Settled, TileRow, Window
from transforms.scene_reader import SceneReader
from transforms.seams import sum_seams
from transforms.summarize import summarize_rows
from transforms.workplace import Workplace, safe_name
from transforms.write import write_table


@dataclass(frozen=True)
class Networks:
    """Both networks of a run."""

    deblur: Network
    find: FindObjects

    @staticmethod
    def of(plan: Plan) -> "Networks":
        """Load what the plan names."""
        return Networks(load_deblurrer(plan.config.deblur), load_detector(plan.config.detect))


def detect_windows(
    plan: Plan, windows: Iterable[Window], networks: Networks, *, cores: Workplace | None = None
) -> Iterator[DetectedTile | Settled]:
    """Read, deblur and detect windows, one at a time and in order.

    The deblurred cores are kept in the workplace `cores`, as mosaics need them, if there is one.
    """
    config = plan.config
    ground = open_ground(config.input, plan.names)
    make = partial(make_arms, config=config.arms, sensor=config.read.blur)
    policy = DeblurPolicy.of(config)
    with (
        closing(SceneReader(config.input)) as reader,
        closing(CoreReader(config.input)) as core_reader,
        closing(open_networks(networks.deblur, config)) as network_of,
    ):
        for window in windows:
            read = [read_tile(window, reader, ground, config.read)]
            deblurred = deblur_tiles(read, network_of, make, policy)
            if cores is not None:
                deblurred = write_cores(deblurred, core_reader, cores)
            yield from detect_tiles(deblurred, networks.find)


def measure_windows(
    plan: Plan, windows: Iterable[Window], networks: Networks, *, cores: Workplace | None = None
) -> Iterator[MeasuredTile | Settled]:
    """Yield what is measured in each window, one at a time and in order."""
    for detected in detect_windows(plan, windows, networks, cores=cores):
        yield from measure_tiles([detected], plan.ruler)


def settle_windows(
    plan: Plan, windows: Iterable[Window], networks: Networks, *, cores: Workplace | None = None
) -> Iterator[Settled]:
    """Yield how each window ends by itself, before its neighbours have a say at its border."""
    yield from map(settled_of, measure_windows(plan, windows, networks, cores=cores))


def run_direct(plan: Plan, networks: Networks) -> list[Part]:
    """Run the whole job in this process and write its tables; return their parts."""
    place = Workplace.open(plan.config.output)
    cores = place if plan.config.mosaic.write else None
    measured = list(measure_windows(plan, plan.windows, networks, cores=cores))
    histograms = [part for tile in measured for part in histograms_of(tile)]
    settled = reconcile([*map(settled_of, measured), *plan.rejected], plan.ruler.border)
    rows = [row for row in settled if isinstance(row, TileRow)]
    rejected = [row for row in settled if isinstance(row, Rejected)]
    if cores is not None:
        unmade = make_mosaics(settled, plan, place)
        rejected += unmade
        made = {scene.name for scene in plan.scenes} - {reject.scene for reject in unmade}
        describe_mosaics(plan, place, {safe_name(name) for name in made})
        tidy(place, [])
    summary = [*summarize_rows(rows, plan.reporter), *sum_seams(measured)]
    reports = Reports.of(plan, place.staged)
    return [
        *write_table(rows, *reports.tiles),
        *write_table(rows, *reports.detections),
        *write_table(rows, *reports.ledger),
        *write_table(sum_histograms(histograms), *reports.histograms),
        *write_table(summary, *reports.summary),
        *write_table(rejected, *reports.rejected),
    ]
