"""The curve of a training: a CSV file, a figure of it, and TensorBoard where it is installed."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CURVE = "curve.csv"
FIGURE = "curve.png"
TENSORBOARD = "tensorboard"

# The panels of the figure: a title, and the columns it shows.
_PANELS = (
    ("loss", ("loss",)),
    ("PSNR (dB)", ("train_psnr", "psnr")),
    ("SSIM", ("train_ssim", "ssim")),
)
_LABELS = {"loss": "train", "psnr": "validation", "ssim": "validation"}


@dataclass
class Curve:
    """One row per validation, from column to number as text; `step` is the first column."""

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def resume(cls, folder: Path, step: int) -> "Curve":
        """The curve in a run folder up to a step: what came after it is trained again."""
        path = folder / CURVE
        if not path.exists():
            return cls(folder)
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        return cls(folder, rows)

    def add(self, row: Mapping[str, str]) -> None:
        """Append a row and rewrite the file."""
        self.rows.append(dict(row))
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        unfinished = self.folder / f"{CURVE}.part"
        unfinished.write_text(text.getvalue(), encoding="utf-8")
        unfinished.replace(self.folder / CURVE)

    def draw(self) -> bool:
        """Write the figure; False if matplotlib is not installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return False
        figure = Figure(figsize=(12.0, 3.6), layout="constrained")
        for axes, (title, columns) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
            for column in columns:
                rows = [row for row in self.rows if row.get(column)]
                steps = [int(row["step"]) for row in rows]
                values = [float(row[column]) for row in rows]
                axes.plot(steps, values, marker=".", label=_LABELS.get(column, "train"))
            axes.set(title=title, xlabel="step")
            axes.legend()
        figure.savefig(self.folder / FIGURE, dpi=100)
        return True


class Events:
    """The same rows for TensorBoard, if it is installed; else nothing."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        # What an interrupted run had written behind its checkpoint is forgotten.
        self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)  # type: ignore[no-untyped-call]

    def add(self, row: Mapping[str, str]) -> None:
        """Write a row."""
        if self._writer is not None:
            for column, value in row.items():
                if column != "step":
                    self._writer.add_scalar(column, float(value), int(row["step"]))
            self._writer.flush()
