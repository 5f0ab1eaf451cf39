"""All measurements of speed and memory in one command, for docs/performance.md.

    python -m benchmarks.performance --output FOLDER
    python -m benchmarks.performance --output FOLDER --parts generator memory

Runs one program after the other, each in a process of its own, and collects their tables in
FOLDER/performance.md and their numbers in FOLDER/NAME.json. What a program says goes to
FOLDER/NAME.log. A program that fails is named at the end, and the others are run all the same.
Nothing else should run on the machine meanwhile: the load before each program is in its table.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.sheet import Sheet

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A program of this folder, or the command `bench`, and what it is told."""

    name: str
    program: str
    options: Sequence[str]

    def command(self, output: Path) -> list[str]:
        """Return what is run."""
        files = [f"--json={output / self.name}.json", f"--markdown={output / self.name}.md"]
        program = (
            [str(Path(sys.executable).with_name("aerial-deblur")), "bench"]
            if self.program == "bench"
            else [sys.executable, "-m", f"benchmarks.{self.program}"]
        )
        return [*program, *self.options, *files]


def parts_of(given: argparse.Namespace) -> list[Part]:
    """Return all parts in the order in which they run."""
    rounds = f"--rounds={given.rounds}"
    networks = ("--parts", "generator", rounds)
    dtypes = ("--dtypes", *given.dtypes)
    job = (f"--backend={given.backend}", f"--dtype={given.dtype}", f"--weights={given.weights}")
    published = ("--weights", "published_mobilenet", "--sizes", "1024", *dtypes)
    shipped = ("--weights", "deblur_mobilenet", "deblur_dsc", "--sizes", "512", "1024", *dtypes)
    return [
        Part("published", "bench", (*networks, *published)),
        Part("generator", "bench", (*networks, *shipped)),
        Part("detector", "bench", ("--parts", "detector", rounds)),
        Part("by_hand", "by_hand", ("--rounds=2", *job)),
        Part("overhead", "pipeline_overhead", ("--rounds=2", *job)),
        Part("stages", "stage_costs", ("--tiles=36", *job)),
        Part("workers", "worker_scaling", ("--rounds=3", "--engines=multi_processing", *job)),
        Part("startup", "startup", ("--rounds=5", "--workers", "1", "2")),
        Part("memory", "long_run", ()),
    ]


def run_part(part: Part, output: Path) -> float:
    """Run a part; return its seconds. Raises CalledProcessError if it fails."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    start = time.perf_counter()
    with (output / f"{part.name}.log").open("w", encoding="utf-8") as log:
        subprocess.run(
            part.command(output), stdout=log, stderr=log, env=environment, cwd=ROOT, check=True
        )
    return time.perf_counter() - start


def run_parts(parts: Sequence[Part], output: Path) -> list[str]:
    """Run parts, write their tables as one page, and return the names of those that failed."""
    output.mkdir(parents=True, exist_ok=True)
    times, failed = Sheet("What was run", ("part", "seconds")), []
    for part in parts:
        print(f"{part.name} ...", flush=True)
        try:
            times.add(part.name, f"{run_part(part, output):.0f}")
        except subprocess.CalledProcessError as error:
            failed.append(part.name)
            times.add(part.name, f"failed with {error.returncode}")
    pages = [output / f"{part.name}.md" for part in parts if part.name not in failed]
    tables = [page.read_text(encoding="utf-8") for page in pages]
    page = "\n".join([*tables, times.for_page()])
    (output / "performance.md").write_text(page, encoding="utf-8")
    return failed


def main() -> int:
    """Run what is asked for; exit code 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [part.name for part in parts_of(_defaults())]
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    _add_settings(parser)
    given = parser.parse_args()
    chosen = [part for part in parts_of(given) if part.name in given.parts]
    failed = run_parts(chosen, given.output)
    print(f"written to {given.output / 'performance.md'}")
    for name in failed:
        print(f"{name} failed: see {given.output / name}.log", file=sys.stderr)
    return 1 if failed else 0


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="of the networks alone")
    dtypes = ["float32", "bfloat16", "int8"]
    parser.add_argument("--dtypes", nargs="+", default=dtypes, help="of deblurrers")
    parser.add_argument("--weights", default="deblur_dsc", help="of whole jobs")
    parser.add_argument("--backend", default="auto", help="of whole jobs")
    parser.add_argument("--dtype", default="float32", help="of whole jobs")


def _defaults() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    _add_settings(parser)
    return parser.parse_args([])


if __name__ == "__main__":
    sys.exit(main())
