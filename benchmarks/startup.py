"""What starting costs: wall seconds of fresh processes, from the start on.

    python -m benchmarks.startup --rounds 5 --json FILE --markdown FILE
    python -m benchmarks.startup --workers 1 2 --against CHECKOUT

The job is one window of 256 px with both controls: what every run costs besides its windows.
`first window` is over when a result is kept, `whole run` when the command has ended; `nothing to
do` is the same command once more (exit code 99). With `--against`, another checkout of this project
runs the same commands in turns, and ratios are those of the same rounds.

Before, each checkout runs the job once, and that is not counted: compiled modules, converted
networks and the choice of a backend are made once on a machine and kept. Git is not asked for the
version of the code: it is not there where the package is installed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console

from pipeline.demo import write_demo_scene
from pipeline.machine import describe_machine
from pipeline.rounds import Spread, in_turn
from pipeline.sheet import Sheet

ROOT = Path(__file__).resolve().parents[1]
HERE, OTHER = "here", "other checkout"
PROGRAM = "import sys; from pipeline.cli import main; sys.exit(main())"
NOTHING_TO_DO = 99
LIMIT = 600.0

Seconds = Mapping[str, float]
"""What was waited for, and how long."""


def write_job(folder: Path) -> Path:
    """Write a scene of one window and the configuration of a job over it into a folder."""
    scene, _ = write_demo_scene(folder, size=256)
    path = folder / "job.yaml"
    content = {"input": {"scenes": [str(scene)]}, "read": {"core": 256, "halo": 64}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def seconds_of(checkout: Path, program: str, *arguments: str, code: int = 0) -> float:
    """Run a program with a checkout's modules, and return how long it took.

    Raises RuntimeError if it ends with another exit code.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout), "GIT_DIR": os.devnull}
    command, start = [sys.executable, "-c", program, *arguments], time.perf_counter()
    ended = subprocess.run(
        command,
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    seconds = time.perf_counter() - start
    if ended.returncode != code:
        raise RuntimeError(f"{arguments} ended with {ended.returncode}:\n{ended.stderr}")
    return seconds


def start_all(checkout: Path, job: Path, workers: Sequence[int]) -> dict[str, float]:
    """Start everything once, each in a fresh process."""
    seconds = {
        "--help": seconds_of(checkout, PROGRAM, "--help"),
        "import pipeline.run": seconds_of(checkout, "import pipeline.run"),
    }
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-start-") as name:
        for count in workers:
            output = Path(name) / str(count)
            given = ("run", str(job), f"--output={output}", f"--set=engine.workers={count}")
            begun = time.time()
            whole = seconds_of(checkout, PROGRAM, *given)
            kept = min(path.stat().st_mtime for path in output.glob("_work/units/*/*.unit"))
            processes = "1 process" if count == 1 else f"{count} processes"
            seconds[f"first window, {processes}"] = kept - begun
            seconds[f"whole run, {processes}"] = whole
        seconds["nothing to do"] = seconds_of(checkout, PROGRAM, *given, code=NOTHING_TO_DO)
    return seconds


def measure(
    checkouts: Mapping[str, Path], workers: Sequence[int], rounds: int
) -> dict[str, list[Seconds]]:
    """Let checkouts take turns; return what each waited for, round by round."""
    measured: dict[str, list[Seconds]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-job-") as folder:
        job = write_job(Path(folder))
        for checkout in checkouts.values():
            start_all(checkout, job, workers)
        for number in range(rounds):
            for name in in_turn(list(checkouts), number):
                measured[name].append(start_all(checkouts[name], job, workers))
    return measured


def describe(measured: Mapping[str, Sequence[Seconds]]) -> Sheet:
    """Return the table: seconds, and ratios to the other checkout if there is one."""
    names, here = list(measured), measured[HERE]
    ratio = ["here / other"] if OTHER in measured else []
    columns = ("until", *(f"{name}, s" for name in names), *ratio)
    sheet = Sheet("What starting costs: median (least to most)", columns)
    for what in here[0]:
        spreads = [str(Spread.of([each[what] for each in measured[name]])) for name in names]
        if OTHER in measured:
            pairs = zip(here, measured[OTHER], strict=True)
            spreads.append(str(Spread.of([ours[what] / theirs[what] for ours, theirs in pairs])))
        sheet.add(what, *spreads)
    return sheet


def main() -> int:
    """Measure, print the table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="processes of runs")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    given = parser.parse_args()
    machine = describe_machine()
    checkouts = {HERE: ROOT} | ({OTHER: given.against.resolve()} if given.against else {})
    measured = measure(checkouts, given.workers, given.rounds)
    sheet = describe(measured)
    Console().print(sheet.for_screen())
    if given.markdown:
        given.markdown.write_text(sheet.for_page(), encoding="utf-8")
    if given.json:
        content = {"machine": asdict(machine), "seconds": measured}
        given.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
