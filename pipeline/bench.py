"""The command `bench`: how fast networks and a small run are on this machine, and how exact."""

import json
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from models.deblurrer import SMALLEST
from pipeline.bench_networks import (
    Field,
    describe_networks,
    installed_backends,
    measure_detector,
    measure_generator,
    runnable,
)
from pipeline.bench_run import describe_run, measure_run
from pipeline.machine import Machine, describe_machine
from pipeline.sheet import Sheet
from pipeline.workers import usable_cores

PARTS = ("generator", "detector", "run")
LEGEND = (
    "p x t: processes x threads. The baseline of a deblurrer is eager PyTorch, picture by picture, "
    "in its faster way; that of a detector is PyTorch. PSNR and the largest difference are to "
    "the baseline's picture; PSNR is left out where the two are equal."
)


@dataclass(frozen=True)
class Order:
    """What is measured: parts, deblurrers, the detector, and the side of the run's scene in px."""

    parts: tuple[str, ...]
    weights: tuple[str, ...]
    detector: str
    run_side: int
    field: Field


def field_of(options: Namespace) -> Field:
    """Return what is compared, from the options of the command line.

    Raises ValueError for numbers that make no sense, before anything is measured.
    """
    numbers = [*options.sizes, *options.batches, *(options.processes or []), options.rounds]
    if min(numbers) < 1 or min(options.sizes) < SMALLEST or options.seconds <= 0:
        raise ValueError(
            f"sizes must be at least {SMALLEST} px, and numbers positive, got sizes "
            f"{options.sizes}, batches {options.batches}, processes {options.processes}, "
            f"rounds {options.rounds}, seconds {options.seconds:g}"
        )
    cores = usable_cores()
    on_gpu = options.device != "cpu"
    return Field(
        sizes=tuple(options.sizes),
        batches=tuple(options.batches),
        backends=tuple(options.backends or (("torch",) if on_gpu else installed_backends())),
        dtypes=tuple(options.dtypes),
        processes=tuple(options.processes or ((1,) if on_gpu else (cores,))),
        cores=cores,
        rounds=options.rounds,
        seconds=options.seconds,
        device=options.device,
    )


def bench(order: Order, console: Console, *, json_file: Path | None, page: Path | None) -> None:
    """Measure, print tables, and write all numbers as JSON, and the tables as Markdown.

    Raises ValueError or OSError, naming what is wrong, for networks that cannot be loaded.
    """
    machine = describe_machine()
    sheets = [describe(machine)]
    console.print(sheets[0].for_screen())
    measured: dict[str, Any] = {"machine": asdict(machine), "field": asdict(order.field)}

    def tell(part: str, result: object, found: Sequence[Sheet]) -> None:
        measured[part] = result
        sheets.extend(found)
        for sheet in found:
            console.print(sheet.for_screen())

    with tempfile.TemporaryDirectory(prefix="aerial-deblur-bench-") as name:
        folder, field = Path(name), order.field
        if "generator" in order.parts:
            rows = _collect(order.weights, lambda w: measure_generator(w, field, folder))
            tell("generator", rows, describe_networks(rows))
        if "detector" in order.parts:
            rows = measure_detector(order.detector, field, folder)
            tell("detector", rows, describe_networks(rows))
        if "run" in order.parts:
            row = measure_run(runnable(order.weights[0], folder), order.run_side, folder)
            tell("run", row, [describe_run(row)])
    console.print(LEGEND)
    if json_file is not None:
        json_file.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    if page is not None:
        page.write_text(
            "\n".join([*(sheet.for_page() for sheet in sheets), LEGEND, ""]), encoding="utf-8"
        )


def describe(machine: Machine) -> Sheet:
    """Return the table of a machine."""
    sheet = Sheet("Machine", ("", ""), names=2)
    for fact, value in machine.facts().items():
        sheet.add(fact, value)
    return sheet


def _collect(
    weights: Sequence[str], measure: Callable[[str], Iterable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    return [row for name in weights for row in measure(name)]
