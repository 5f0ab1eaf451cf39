"""What a GPU gives, in one command: networks, batches, whole jobs, a full memory, the tests.

    python -m benchmarks.gpu_run --write gpu.json
    python -m benchmarks.gpu_run --write dry.json --device cpu --quick

Everything is rendered by us. Parts come in the order of what one wants to know first; what has not
begun after `--minutes` is left out and named. How busy the GPU was, as its driver says, needs
nvidia-ml-py. `--quick` is for trying the program: tiny tiles, and no number that says anything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_jobs import compare_with_cpu, fill_memory, measure_production
from benchmarks.gpu_networks import (
    Bench,
    Row,
    make_tiles,
    measure_calls,
    measure_kernels,
    search_batches,
)
from pipeline.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Record:
    """All that was measured, written after every row: a limit of time costs what is not begun."""

    path: Path
    until: float
    measured: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, rows: Iterator[Row]) -> None:
        """Measure a part, row by row, as long as there is time for another row."""
        print(f"== {part}", flush=True)
        while time.monotonic() < self.until:
            row = next(rows, None)
            if row is None:
                return
            self.measured.setdefault(part, []).append(row)
            self.write()
            shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
            print(shown, flush=True)
        self.measured.setdefault("cut_short", []).append(part)
        self.write()

    def write(self) -> None:
        """Write all of it."""
        self.path.write_text(json.dumps(self.measured, indent=1), encoding="utf-8")


def run_tests(seconds: float) -> Iterator[Row]:
    """Yield the end of what the tests that need a GPU say, and their exit code."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # What filled the memory is kept for this process.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/test_cuda.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            timeout=max(seconds, 1),
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else str(late.stdout)
        yield {"exit_code": None, "said": said[-500:]}
        return
    yield {"exit_code": done.returncode, "said": done.stdout[-500:]}


def parts_of(
    given: argparse.Namespace, folder: Path, left: Callable[[], float]
) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield all parts by name, in their order."""
    device, quick = given.device, given.quick
    tiny = Bench(device, side=128, batch=2, rounds=1, product=256)
    bench = tiny if quick else Bench(device)
    large = {"tiles": 1 if quick else 16, "core": 128 if quick else 1024, "halo": 160}
    small = {"tiles": 1 if quick else 9, "core": 128 if quick else 512, "halo": 160}
    dtypes = ("float32",) if quick else ("float16", "float32")
    yield "calls", measure_calls(bench)
    yield "kernels", measure_kernels(bench)
    yield "batches", search_batches(bench)
    yield "production", measure_production(folder, device, dtypes, **large)
    yield "same_tables", compare_with_cpu(folder, device, **small)
    full = 2 if quick else given.full
    [picture] = make_tiles(1, bench.side)
    yield "memory", (fill_memory(picture, full, device) for _ in range(1))
    yield "tests", run_tests(left())


def main() -> None:
    """Measure, print a line each, and write all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, required=True, metavar="FILE", help="JSON")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="only try the program")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--full", type=int, default=256, help="tiles that exceed the memory")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    record = Record(given.write, until, {"machine": asdict(describe_machine())})
    with tempfile.TemporaryDirectory() as folder:
        for part, rows in parts_of(given, Path(folder), lambda: until - time.monotonic()):
            record.add(part, rows)


if __name__ == "__main__":
    main()
