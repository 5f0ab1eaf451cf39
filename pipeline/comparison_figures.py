"""The figures of a comparison: SSIM against cost, curves of trainings, pictures side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Pillow

from configs.comparison import Comparison
from models.deblurrer import Deblurrer
from pipeline.comparison_table import Result
from pipeline.contenders import weights_of
from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image

COST_FIGURE, CURVES_FIGURE, GRID_FIGURE = "ssim_cost.png", "curves.png", "grid.png"

_MARKERS = {"v1": "s", "v2": "o", "challenger": "^"}
_LINES = {"v1": "--", "v2": "-", "challenger": ":"}
_CURVES = (
    ("loss", "training loss"),
    ("train_psnr", "PSNR train (dB)"),
    ("psnr", "PSNR validation (dB)"),
    ("train_ssim", "SSIM train"),
    ("ssim", "SSIM validation"),
)


def draw_figures(config: Comparison, results: Sequence[Result]) -> None:
    """Draw all figures into the comparison's folder, as PNG."""
    mpl.use("agg")
    _draw_cost(config.output / COST_FIGURE, results)
    _draw_curves(config.output / CURVES_FIGURE, [result for result in results if result.curve])
    _draw_grid(config, [result for result in results if result.summary])


def _draw_cost(path: Path, results: Sequence[Result]) -> None:
    """Draw SSIM on the test places against multiply-accumulates and against seconds."""
    values = [(result, result.value("after", "ssim")) for result in results]
    measured = [(result, ssim) for result, ssim in values if ssim is not None]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    by_macs, by_seconds = figure.subplots(1, 2, sharey=True)
    costs: tuple[tuple[Axes, str, Callable[[Result], float]], ...] = (
        (by_macs, "kMAC per pixel", lambda result: result.cost.kmacs_per_pixel),
        (by_seconds, "processor seconds per MPix", lambda result: result.cost.seconds_per_mpix),
    )
    for axes, label, cost in costs:
        for result, ssim in measured:
            marker, title = _MARKERS[result.contender.family], result.contender.title
            axes.scatter(cost(result), ssim, marker=marker, s=60, label=title)
        axes.set(xscale="log", xlabel=label)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.grid(alpha=0.3)
        before = measured[0][0].value("before", "ssim") if measured else None
        if before is not None:
            axes.axhline(before, color="grey", linewidth=1, linestyle=":")
            axes.text(0.01, before, " blurred", transform=axes.get_yaxis_transform(), fontsize=7)
    by_macs.set_ylabel("SSIM on the test places")
    figure.legend(*by_macs.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=150)


def _draw_curves(path: Path, results: Sequence[Result]) -> None:
    """Draw losses and metrics of all trainings over the processor time spent."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    grid = figure.subplots(2, 3).ravel()
    for axes, (column, label) in zip(grid, _CURVES, strict=False):
        for result in results:
            points = [(row["step"], row[column]) for row in result.curve if column in row]
            if not points or result.steps is None:
                continue
            steps, values = np.array(points).T
            minutes = steps * result.steps.seconds / 60
            line = _LINES[result.contender.family]
            axes.plot(minutes, values, line, label=result.contender.title)
        axes.set(xlabel="processor minutes", ylabel=label)
        axes.grid(alpha=0.3)
        if column == "loss":
            axes.set_yscale("log")
    grid[-1].axis("off")
    grid[-1].legend(*grid[0].get_legend_handles_labels(), loc="center", fontsize=9)
    figure.savefig(path, dpi=150)


def _draw_grid(config: Comparison, results: Sequence[Result]) -> None:
    """Draw one crop blurred, as every contender restores it, and sharp."""
    sharp, blurred = _grid_crop(config)
    pictures = [("blurred", blurred)]
    for result in results:
        contender = result.contender
        network = Deblurrer.load(
            weights_of(config, contender), normalisation=contender.normalisation
        )
        pictures.append((contender.title, network(blurred[None])[0]))
    pictures.append(("reference", sharp))
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.5 * rows), layout="constrained")
    cells = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in cells:
        axes.axis("off")
    for axes, (title, picture) in zip(cells, pictures, strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=9)
    figure.savefig(config.output / GRID_FIGURE, dpi=110)


def _grid_crop(config: Comparison) -> tuple[Image, Image]:
    """Return the sharp crop and its blurred twin; blurred with its surroundings."""
    grid = config.grid
    picture = np.asarray(Pillow.open(grid.picture).convert("RGB"))
    rows, columns = (slice(start, start + grid.side) for start in (grid.top, grid.left))
    blurred = blur_tile(picture, length=grid.length, angle=grid.angle)
    return picture[rows, columns], blurred[rows, columns]
