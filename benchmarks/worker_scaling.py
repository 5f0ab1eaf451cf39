"""What a second worker is worth, and what starting costs: local processes and Flink.

    PYTHONPATH=tests python benchmarks/worker_scaling.py --rounds 3 --json FILE
    PYTHONPATH=tests python benchmarks/worker_scaling.py --engines in_memory multi_processing

The job is bound by the CPU: rendered scenes, shipped networks, no controls, one thread a worker,
tiles of 512 px. It has to last: of a short one, how its parts start and end decides.
Runs with one worker and with two alternate. Speed is that of finished windows between the first
and the last, without start and tables; the time of the whole command is reported, too. Starting
is a run of one window: until that is finished, and in all. `load` is what others do at the same
time: processes that want a core, on average over a minute, before each run.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import yaml
from flink_cluster import FLINK_MISSING, JOB_SERVER, running_cluster
from reliability import COMMAND, Run

from pipeline.demo import write_demo_scene
from pipeline.rounds import Spread
from pipeline.sheet import Sheet

ENGINES = ("in_memory", "multi_processing", "flink")
LIMIT = 1800.0
CORE, HALO = 512, 160
COLUMNS = (
    *("engine", "first window after, s", "one window in all, s"),
    *("1 worker, windows/s", "2 workers", "two against one", "whole command"),
)


@dataclass(frozen=True)
class Timing:
    """One run: seconds until the first and the last window were finished, and in all."""

    engine: str
    workers: int
    windows: int
    first: float
    last: float
    total: float
    load: float

    @property
    def speed(self) -> float:
        """Return windows per second after the first."""
        return (self.windows - 1) / (self.last - self.first)


def write_job(folder: Path, *, scenes: int, size: int, deblur: Mapping[str, str]) -> Path:
    """Write scenes and the configuration of a job into a new folder; `deblur` is its section."""
    for seed in range(scenes):
        write_demo_scene(folder / "scenes", seed=seed, size=size)
    config = {
        "input": {"scenes": [f"{folder}/scenes/*.tif"]},
        "read": {"core": CORE, "halo": HALO},
        "deblur": dict(deblur),
        "detect": {"backend": deblur["backend"]},
        "arms": {"controls": [], "oracle": {"method": "none"}},
        "measure": {"stability": 0, "seams": None, "interval": {"replicates": 0}},
        "engine": {"batch_size": 1},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def measure(job: Path, engine: str, workers: int, options: Sequence[str]) -> Timing:
    """Run a job into a fresh folder and return how long it took."""
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-scaling-") as folder:
        load, begun = os.getloadavg()[0], time.time()
        output = ["--output", f"{folder}/out"]
        run = Run([str(COMMAND), "run", str(job), *output, *options], Path(folder))
        code = run.wait(LIMIT)
        total = time.time() - begun
        if code != 0:
            raise RuntimeError(f"{engine} with {workers}: exit code {code}\n{run.said()}")
        finished = sorted(
            path.stat().st_mtime - begun for path in Path(folder).glob("out/_work/units/*/*.unit")
        )
    return Timing(engine, workers, len(finished), finished[0], finished[-1], total, load)


@contextmanager
def options_of(engine: str, folder: Path) -> Iterator[Mapping[int, Sequence[str]]]:
    """Yield what to add to the command for each number of workers."""
    if engine == "in_memory":
        yield {1: ()}
    elif engine == "multi_processing":
        mode = "--direct_running_mode=multi_processing"
        yield {n: ("--", mode, f"--direct_num_workers={n}") for n in (1, 2)}
    else:
        with running_cluster(folder) as cluster:
            settings = f"--set=engine.worker_pool={cluster.pool.address}"
            ours = ("--engine", "flink", "--flink-master", cluster.master, settings)
            jar = f"--set=engine.job_server_jar={JOB_SERVER}"
            yield {n: (*ours, jar, f"--set=engine.workers={n}") for n in (1, 2)}


def report(engine: str, start: Sequence[Timing], whole: Sequence[Timing]) -> str:
    """Return what was measured of an engine, medians of all rounds."""
    first, total = (median(getattr(each, name) for each in start) for name in ("first", "total"))
    lines = [f"{engine}: first window after {first:.1f} s, one window in all {total:.1f} s"]
    by_workers = {n: [each for each in whole if each.workers == n] for n in (1, 2)}
    for workers, timings in by_workers.items():
        if timings:
            speed, total = (median(getattr(t, n) for t in timings) for n in ("speed", "total"))
            lines.append(f"  {workers}: {speed:.2f} windows/s, {total:.1f} s in all")
    if all(by_workers.values()):
        pairs = list(zip(by_workers[1], by_workers[2], strict=True))
        speed = [two.speed / one.speed for one, two in pairs]
        total = [one.total / two.total for one, two in pairs]
        lines.append(f"  two against one: {_ratios(speed)}, whole command {_ratios(total)}")
    return "\n".join(lines)


def add_row(sheet: Sheet, engine: str, start: Sequence[Timing], whole: Sequence[Timing]) -> None:
    """Add what was measured of an engine to the table, medians of all rounds."""
    speeds, totals = (
        {n: [getattr(each, name) for each in whole if each.workers == n] for n in (1, 2)}
        for name in ("speed", "total")
    )
    first, total = (median(getattr(each, name) for each in start) for name in ("first", "total"))
    known = [f"{median(speeds[n]):.2f}" if speeds[n] else "" for n in (1, 2)]
    gains = ["", ""]
    if all(speeds.values()):
        faster = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
        sooner = [one / two for one, two in zip(totals[1], totals[2], strict=True)]
        gains = [str(Spread.of(faster)), str(Spread.of(sooner))]
    sheet.add(engine, f"{first:.1f}", f"{total:.1f}", *known, *gains)


def _ratios(values: Sequence[float]) -> str:
    each = ", ".join(f"{value:.2f}" for value in values)
    return f"{median(values):.2f} x ({each})"


def main() -> int:
    """Measure every engine and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--size", type=int, default=4 * CORE, help="of a scene, pixels")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--weights", default="deblur_dsc", help="deblur.weights")
    parser.add_argument("--backend", default="auto", help="deblur.backend and detect.backend")
    parser.add_argument("--dtype", default="float32", help="deblur.dtype")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    given = parser.parse_args()
    if "flink" in given.engines and FLINK_MISSING:
        parser.error(FLINK_MISSING)
    timings: list[Timing] = []
    sheet = Sheet(f"Workers: {given.weights}, backend {given.backend}, {given.dtype}", COLUMNS)
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-scaling-") as name:
        root = Path(name)
        deblur = {name: getattr(given, name) for name in ("weights", "backend", "dtype")}
        job = write_job(root / "job", scenes=given.scenes, size=given.size, deblur=deblur)
        one = write_job(root / "one", scenes=1, size=CORE, deblur=deblur)
        # What is made once on a machine and kept is of no run.
        measure(one, "warm-up", 1, ())
        for engine in given.engines:
            with options_of(engine, root / "cluster") as options:
                start, whole = [], []
                for _ in range(given.rounds):
                    start.append(measure(one, engine, max(options), options[max(options)]))
                    for workers, flags in options.items():
                        whole.append(measure(job, engine, workers, flags))
            timings += [*start, *whole]
            print(report(engine, start, whole), flush=True)
            add_row(sheet, engine, start, whole)
            print(f"  load before runs: {[round(t.load, 1) for t in whole]}", flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in timings], indent=1))
    if given.markdown:
        given.markdown.write_text(sheet.for_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
