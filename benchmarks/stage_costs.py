"""Where the time of a run goes, by stage and by function.

    python -m benchmarks.stage_costs --core 512 --tiles 100 --json FILE --markdown FILE

Two runs over one rendered scene: with the settings of production (no truth, no controls) and of an
evaluation (labels, synthetic blur, controls). Batches go through the stages one after the other in
this process, with the decoder beside it. Wall time is taken around each stage, processor time is
that of this process, and for `read` that of the decoder too. Some more tiles are then profiled, for
the functions: their time includes all that they call, so that rows hold others, and is a little too
long where many small functions are called. What Beam adds is told by pipeline_overhead.py.

A flame graph of a whole run, into native code (py-spy is on PyPI; it needs the right to look into
other processes, and follows the processes of workers and decoders):

    py-spy record --native --subprocesses --rate 200 --output flame.svg -- aerial-deblur run JOB
"""

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from upath import UPath

from benchmarks.timed_scene import add_options, compute_alone, evaluation, production, write_scene
from pipeline.direct import Networks
from pipeline.machine import describe_machine
from pipeline.planning import Plan, plan_run
from pipeline.sheet import Sheet
from transforms.arms import make_arms
from transforms.deblur import DeblurPolicy, Images, deblur_tiles, open_networks
from transforms.detect import detect_tiles
from transforms.functional.boxes import Detections
from transforms.ground import open_ground
from transforms.isolated import open_reader
from transforms.measure import measure_tiles
from transforms.read import read_tile
from transforms.records import Window
from transforms.units import Keeper
from transforms.workplace import Workplace

DEBLUR, DETECT = "deblur network", "detect network"
STAGES = ("read", DEBLUR, "deblur", DETECT, "detect", "measure", "keep")
"""A stage with a network comes without it."""
PACKAGES = ("transforms", "models")
PROFILED = 24
"""Tiles; what a function takes varies little between them."""
SHOWN = 40


@dataclass(frozen=True)
class Cost:
    """What something took in all: seconds of wall time, and of processors."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


@dataclass(frozen=True)
class Function:
    """A function of ours: how often a tile calls it, and seconds a tile with all it calls."""

    name: str
    calls: float
    seconds: float


class Meter:
    """Adds up what blocks cost, by name; what runs inside another block counts in both."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = defaultdict(Cost)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Add what the block costs in this process."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.costs[name] += Cost(time.perf_counter() - wall, time.process_time() - cpu)

    def by_stage(self) -> dict[str, Cost]:
        """Return what every stage cost, nothing counted twice."""
        inner = {"deblur": self.costs[DEBLUR], "detect": self.costs[DETECT]}
        return {name: self.costs[name] - inner.get(name, Cost()) for name in STAGES}


@dataclass(frozen=True)
class MeteredNetworks:
    """Networks whose cost is added."""

    networks: Networks
    meter: Meter

    def deblur(self, images: Images) -> Images:
        """Deblur uint8 (n, h, w, 3)."""
        with self.meter.running(DEBLUR):
            return self.networks.deblur(images)

    def find(self, images: Images) -> Sequence[Detections]:
        """Search uint8 (n, h, w, 3)."""
        with self.meter.running(DETECT):
            return self.networks.find(images)


def run_stages(
    plan: Plan,
    windows: Sequence[Window],
    networks: Networks,
    folder: Path,
    watched: AbstractContextManager[object] | None = None,
) -> Meter:
    """Take windows through all stages in batches, and return what each cost.

    Meanwhile, the decoder being started, the context `watched` is entered.
    """
    meter, config, size = Meter(), plan.config, plan.config.engine.batch
    metered = MeteredNetworks(networks, meter)
    ground, keeper = open_ground(config.input, plan.names), Keeper(Workplace.open(UPath(folder)))
    make = partial(make_arms, config=config.arms, sensor=config.read.blur)
    policy = DeblurPolicy.of(config)
    with ExitStack() as stack:
        reader = stack.enter_context(closing(open_reader(config.input, config.engine.read_seconds)))
        network_of = stack.enter_context(closing(open_networks(metered.deblur, config)))
        reader.read_window(windows[0])  # starts the decoder
        before = decoder_seconds()
        stack.enter_context(watched or nullcontext())
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            with meter.running("read"):
                read = [read_tile(window, reader, ground, config.read) for window in batch]
            with meter.running("deblur"):
                deblurred = deblur_tiles(read, network_of, make, policy)
            with meter.running("detect"):
                detected = detect_tiles(deblurred, metered.find)
            with meter.running("measure"):
                measured = measure_tiles(detected, plan.ruler)
            with meter.running("keep"):
                for outcome in measured:
                    keeper.keep(outcome)
        meter.costs["read"] += Cost(0.0, decoder_seconds() - before)
    return meter


def decoder_seconds() -> float:
    """Return the processor's seconds of the processes that this one has started."""
    times = [child.cpu_times() for child in psutil.Process().children()]
    return sum(each.user + each.system for each in times)


def profile(plan: Plan, networks: Networks, folder: Path) -> list[Function]:
    """Return our functions, those first that take longest, over a few tiles."""
    windows = plan.windows[:PROFILED]
    profiler = cProfile.Profile()
    run_stages(plan, windows, networks, folder, profiler)
    root, functions = Path(__file__).parent.parent, []
    for (file, _, name), (_, calls, _, seconds, _) in pstats.Stats(profiler).stats.items():
        path = Path(file)
        ours = path.is_relative_to(root) and path.relative_to(root).parts[0] in PACKAGES
        if ours and not name.startswith("<"):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            tiles = len(windows)
            functions.append(Function(f"{module}: {name}", calls / tiles, seconds / tiles))
    return sorted(functions, key=lambda function: -function.seconds)


def stage_sheet(title: str, costs: dict[str, Cost], tiles: int) -> Sheet:
    """Return the table of the stages: milliseconds a tile, and shares of the processor's time."""
    columns = ("stage", "wall ms", "processor ms", "share", "of the networks")
    sheet = Sheet(f"{title}: cost of a tile by stage, mean of {tiles}", columns)
    total = sum(costs.values(), Cost())
    networks = costs[DEBLUR] + costs[DETECT]
    for name, cost in [*costs.items(), ("all", total), ("all but networks", total - networks)]:
        each = (f"{1e3 * seconds / tiles:.1f}" for seconds in (cost.wall, cost.cpu))
        shares = (f"{100 * cost.cpu / whole.cpu:.1f} %" for whole in (total, networks))
        sheet.add(name, *each, *shares)
    return sheet


def function_sheet(title: str, functions: Sequence[Function]) -> Sheet:
    """Return the table of the functions that take longest."""
    sheet = Sheet(f"{title}: functions", ("function", "calls a tile", "ms a tile"))
    for function in functions[:SHOWN]:
        sheet.add(function.name, f"{function.calls:.1f}", f"{1e3 * function.seconds:.2f}")
    return sheet


def main() -> int:
    """Measure, print the tables, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    given = parser.parse_args()
    compute_alone()
    known: dict[str, object] = {"machine": asdict(describe_machine())}
    sheets = []
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-stages-") as name:
        folder = Path(name)
        scene, labels = write_scene(given.scenes or folder, given)
        configs = {"production": production(scene, given)}
        configs["evaluation"] = evaluation(scene, labels, given)
        for title, config in configs.items():
            plan = plan_run(config)
            networks = Networks.of(plan)
            costs = run_stages(plan, plan.windows, networks, folder / title).by_stage()
            functions = profile(plan, networks, folder / f"{title}_profiled")
            tiles = len(plan.windows)
            sheets += [stage_sheet(title, costs, tiles), function_sheet(title, functions)]
            known[title] = {
                "tiles": tiles,
                "stages": {stage: asdict(cost) for stage, cost in costs.items()},
                "functions": [asdict(function) for function in functions[:SHOWN]],
            }
    for sheet in sheets:
        Console().print(sheet.for_screen())
    if given.markdown:
        given.markdown.write_text("\n".join(sheet.for_page() for sheet in sheets), "utf-8")
    if given.json:
        given.json.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
