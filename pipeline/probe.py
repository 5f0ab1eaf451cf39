"""The command `probe`: a deblurrer's answers to synthetic charts, as table, JSON and picture."""

import json
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from configs.schema import DeblurConfig
from models.deblurrer import Deblurrer
from models.fingerprint import fingerprint_chart, take_fingerprint
from models.probe import STAR_FREQUENCY, ProbeResult, probe_charts, run_probe
from transforms.deblur import open_deblurrer
from transforms.functional.charts import POINT, Point


def load_probed(config: DeblurConfig) -> Deblurrer:
    """Load weights as a run would, but whatever their fingerprint: a probe may look at any.

    Raises ValueError or OSError if weights, digest or device are not as promised.
    """
    try:
        return open_deblurrer(config)
    except RuntimeError as error:  # a promised GPU that is not there
        raise ValueError(str(error)) from error


def probe(config: DeblurConfig, *, json_file: Path | None, figure: Path | None) -> Group:
    """Probe a deblurrer, write what is asked for, and return the tables."""
    deblurrer = load_probed(config)
    result = run_probe(deblurrer, halo=deblurrer.halo)
    if json_file is not None:
        json_file.write_text(json.dumps(_report(deblurrer, result), indent=1), encoding="utf-8")
    if figure is not None:
        draw_answers(deblurrer, figure)
    title = f"{config.weights}, {deblurrer.normalisation}, {deblurrer.dtype}, {deblurrer.device}"
    return Group(_describe(title, result), _describe_edges(result))


def draw_answers(deblurrer: Deblurrer, path: Path) -> None:
    """Draw every chart above the network's answer to it, as PNG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("agg")
    given = {**probe_charts(), "fingerprint": fingerprint_chart()}
    columns = 6
    bands = -(-len(given) // columns)
    sheet = Figure(figsize=(2.2 * columns, 4.6 * bands), layout="constrained")
    cells = sheet.subplots(2 * bands, columns)
    for axes in cells.ravel():
        axes.axis("off")
    for index, (name, chart) in enumerate(given.items()):
        band, column = divmod(index, columns)
        for row, picture in enumerate((chart, deblurrer(chart[None])[0])):
            cells[2 * band + row, column].imshow(picture, interpolation="nearest")
        cells[2 * band, column].set_title(name.removeprefix("edge_"), fontsize=8)
    sheet.savefig(path, dpi=110)


def _report(deblurrer: Deblurrer, result: ProbeResult) -> dict[str, Any]:
    fingerprint = take_fingerprint(
        deblurrer, normalisation=deblurrer.normalisation, numbers=result.numbers()
    )
    return {
        "weights": deblurrer.info.path.name,
        "sha256": deblurrer.info.sha256,
        "device": deblurrer.device,
        "dtype": deblurrer.dtype,
        "probe": result.to_dict(),
        "fingerprint": fingerprint.to_dict(),
    }


def _describe(title: str, result: ProbeResult) -> Table:
    levels, star, seam = result.radiometry, result.star, result.seam
    noise = result.noise
    facts = {
        "grey levels": f"bias {levels.bias_dn:+.2f} DN, at worst {levels.worst_bias_dn:.2f} DN; "
        f"{levels.levels} of 256 apart, {levels.falls} out of order",
        "left the range": f"{levels.clipped_share:.2%} of the samples",
        "hue": f"shift of at most {result.hue_shift_dn:.2f} DN",
        "white noise": f"{noise.gain:.3f} of its strength, bias {noise.bias_dn:+.2f} DN",
        f"bright pixel, +{POINT} DN": _point(result.bright),
        f"dark pixel, -{POINT} DN": _point(result.dark),
        f"star, {STAR_FREQUENCY:g} cycles/px": f"contrast {star.sharp_after:.3f} where it was 1, "
        f"{star.blurred_after:.3f} where 7 px of motion left {star.blurred_before:.3f}",
        f"seam, halo {result.halo_px} px": f"at most {seam.worst_dn} DN, "
        f"step over the border {seam.jump:.3f} of that in one picture",
    }
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for fact, value in facts.items():
        table.add_row(fact, escape(value))
    return table


def _describe_edges(result: ProbeResult) -> Table:
    table = Table(title="Slanted edges", title_justify="left")
    for name in ("edge", "MTF50 before", "after (cycles/px)", "gain", "overshoot", "undershoot"):
        table.add_column(name, justify="left" if name == "edge" else "right")
    for name, edge in result.edges.items():
        table.add_row(
            name.removeprefix("edge_").replace("_", " "),
            f"{edge.mtf50_before:.3f}",
            f"{edge.mtf50_after:.3f}",
            f"{edge.gain:.2f}",
            f"{edge.overshoot_percent:.1f} %",
            f"{edge.undershoot_percent:.1f} %",
        )
    return table


def _point(point: Point) -> str:
    return (
        f"{point.response:.2f} of its height left, {point.spread:.4f} of its energy elsewhere, "
        f"felt {point.reach_px} px away"
    )
