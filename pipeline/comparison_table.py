"""What a comparison found, as a table: on the terminal, as Markdown and as CSV."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from upath import UPath

from configs.comparison import Contender
from pipeline.contenders import Steps
from pipeline.verdict import Numbers, overall
from transforms.parquet import read_rows
from transforms.records import SummaryRow
from transforms.tables import SUMMARY

MARKDOWN, CSV = "comparison.md", "comparison.csv"

Curve = Sequence[Mapping[str, float]]
"""A training's curve: one mapping per validation, from column to number."""


@dataclass(frozen=True)
class Cost:
    """What restoring costs: the seconds are of one processor, the memory is what a tile adds."""

    parameters: int
    kmacs_per_pixel: float
    seconds_per_mpix: float
    memory_mib: float


@dataclass(frozen=True, eq=False)
class Result:
    """All that is known of a contender; what was not trained or not judged is empty."""

    contender: Contender
    cost: Cost
    steps: Steps | None
    curve: Curve
    summary: Numbers

    def value(self, arm: str, metric: str) -> float | None:
        """Return one number of the main job over everything; None where there is none."""
        row = self.summary.get((arm, metric))
        return None if row is None else row.value

    def gain(self, metric: str) -> float | None:
        """Return after minus before of one metric."""
        before, after = self.value("before", metric), self.value("after", metric)
        return None if before is None or after is None else after - before

    def last(self, column: str) -> float | None:
        """Return the last value of a column of the curve."""
        return self.curve[-1].get(column) if self.curve else None


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, its number, and how that is printed."""

    heading: str
    number: Callable[[Result], float | None]
    form: str

    def cell(self, result: Result) -> str:
        """Return the printed number, or a dash."""
        number = self.number(result)
        return "-" if number is None else format(number, self.form)


COLUMNS = (
    Column("steps", lambda result: result.steps.count if result.steps else None, ",d"),
    Column("PSNR train (dB)", lambda result: result.last("train_psnr"), ".2f"),
    Column("SSIM train", lambda result: result.last("train_ssim"), ".4f"),
    Column("PSNR test (dB)", lambda result: result.value("after", "psnr"), ".2f"),
    Column("SSIM test", lambda result: result.value("after", "ssim"), ".4f"),
    Column("PSNR gain (dB)", lambda result: result.gain("psnr"), "+.2f"),
    Column("SSIM gain", lambda result: result.gain("ssim"), "+.4f"),
    Column("recall before", lambda result: result.value("before", "recall"), ".3f"),
    Column("recall after", lambda result: result.value("after", "recall"), ".3f"),
    Column("AP50 after", lambda result: result.value("after", "ap50"), ".3f"),
    Column("parameters (M)", lambda result: result.cost.parameters / 1e6, ".2f"),
    Column("GMAC at 256 px", lambda result: result.cost.kmacs_per_pixel * 256**2 / 1e6, ".2f"),
    Column("CPU s per MPix", lambda result: result.cost.seconds_per_mpix, ".2f"),
    Column("memory (MiB)", lambda result: result.cost.memory_mib, ".0f"),
)


def read_summary(run: Path) -> Numbers:
    """Return the numbers over everything of a finished main job."""
    _, numbers = overall([SummaryRow(**row) for row in read_rows(UPath(run), SUMMARY)])
    return numbers


def read_curve(path: Path) -> Curve:
    """Return the curve of a training; empty if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def write_tables(folder: Path, results: Sequence[Result]) -> Table:
    """Write the table as Markdown and CSV into a folder and return it for the terminal."""
    headings = ["generator", *(column.heading for column in COLUMNS)]
    rows = [[r.contender.title, *(column.cell(r) for column in COLUMNS)] for r in results]
    rule = ["---", *("---:" for _ in COLUMNS)]
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows)]
    (folder / MARKDOWN).write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *(column.heading for column in COLUMNS)])
        for result in results:
            writer.writerow([result.contender.name, *(column.number(result) for column in COLUMNS)])
    table = Table(title="Generators compared", title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table
