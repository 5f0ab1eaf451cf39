"""The pipeline against a bare loop over the same tiles: what all but the networks costs.

    python -m benchmarks.pipeline_overhead --core 512 --tiles 100 --rounds 3 --json FILE

The loop opens the scene once, reads the windows of the job, deblurs them, and searches both
pictures; it does nothing else. The pipeline is the job with production settings on Beam's local
engine in this process, with its decoder beside it. Both have the same networks, threads and
batches, and take turns in every round.

Two ratios are printed. `windows` is the speed from the first finished batch to the last one, the
loop's being that of all its windows. `whole` counts loading the networks too, for both, and for
the pipeline what Beam needs to start and to write the tables. Processor time is that of this
process and of the decoder.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import apache_beam as beam
import numpy as np
import rasterio
from rasterio.windows import Window as RasterWindow
from rich.console import Console
from upath import UPath

from benchmarks.timed_scene import add_options, compute_alone, production, write_scene
from pipeline.beam_flags import beam_options
from pipeline.detection_gain import DetectionGain
from pipeline.direct import Networks
from pipeline.machine import describe_machine
from pipeline.planning import Plan, plan_run
from pipeline.rounds import Lap, Spread, compare, run_rounds, speed_of
from pipeline.sheet import Sheet
from transforms.gdal import gdal_settings
from transforms.inference import map_by_shape
from transforms.records import Image
from transforms.units import Keeper
from transforms.workplace import Workplace

Laps = Mapping[str, Sequence[Lap]]

LOOP, PIPELINE = "bare loop", "pipeline"


class Clock:
    """The wall time since it was made, and the seconds of processors used meanwhile."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.time(), used()

    def lap(self, pixels: int) -> Lap:
        """Return what was done until now."""
        return Lap(pixels / 1e6, time.time() - self._wall, used() - self._cpu)


def used() -> float:
    """Return the processor's seconds of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run_loop(plan: Plan, note: Callable[[str, Lap], None]) -> Lap:
    """Run the bare loop; note its `windows` and its `whole`."""
    whole = Clock()
    networks = Networks.of(plan)
    windows = Clock()
    for images in read_batches(plan):
        after = map_by_shape(images, networks.deblur)
        map_by_shape(images, networks.find)
        map_by_shape(after, networks.find)
    note("windows", windows.lap(plan.core_pixels))
    lap = whole.lap(plan.core_pixels)
    note("whole", lap)
    return lap


def read_batches(plan: Plan) -> Iterator[list[Image]]:
    """Yield the pictures uint8 (h, w, 3) of the windows of a plan, in batches as the job's."""
    [scene], windows, size = plan.scenes, plan.windows, plan.config.engine.batch
    with rasterio.Env(**gdal_settings()), rasterio.open(scene.path) as dataset:
        for start in range(0, len(windows), size):
            places = [window.read for window in windows[start : start + size]]
            yield [
                np.ascontiguousarray(
                    dataset.read(
                        window=RasterWindow(p.col_off, p.row_off, p.width, p.height)
                    ).transpose(1, 2, 0)
                )
                for p in places
            ]


def run_pipeline(plan: Plan, note: Callable[[str, Lap], None]) -> Lap:
    """Run the job into a fresh folder; note its `windows` and its `whole`."""
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-overhead-") as folder:
        place = Workplace.of(UPath(folder), attempt=uuid.uuid4().hex, settings="benchmark")
        pipeline = beam.Pipeline(options=beam_options(plan.config.engine, ()))
        _ = pipeline | "DetectionGain" >> DetectionGain(plan, Keeper(place))
        whole = Clock()
        pipeline.run().wait_until_finish()
        lap = whole.lap(plan.core_pixels)
        note("whole", lap)
        note("windows", _while_windows_ran(plan, place))
    return lap


def _while_windows_ran(plan: Plan, place: Workplace) -> Lap:
    """Return the lap between the first finished batch and the last window; nobody knows its cpu."""
    ended = {window: Path(place.unit_path(window)).stat().st_mtime for window in plan.windows}
    in_order = sorted(plan.windows, key=ended.__getitem__)
    first = in_order[: plan.config.engine.batch]
    pixels = sum(window.core.area for window in in_order[len(first) :])
    return Lap(pixels / 1e6, ended[in_order[-1]] - ended[first[-1]], math.nan)


def measure(plan: Plan, rounds: int) -> dict[str, Laps]:
    """Let both take turns; return the laps of each, of `windows` and of `whole`."""
    known: dict[str, dict[str, list[Lap]]] = {
        span: {LOOP: [], PIPELINE: []} for span in ("windows", "whole")
    }

    def rival(name: str, run: Callable[..., Lap]) -> Callable[[], Lap]:
        return lambda: run(plan, lambda span, lap: known[span][name].append(lap))

    run_rounds({LOOP: rival(LOOP, run_loop), PIPELINE: rival(PIPELINE, run_pipeline)}, rounds)
    return known


def describe(plan: Plan, known: Mapping[str, Laps]) -> Sheet:
    """Return the table: speeds in MPix of cores a second, and the pipeline's share of the loop's.

    The ratio of processor times is the loop's over the pipeline's, so that below 1 the pipeline
    takes more.
    """
    read, deblur = plan.config.read, plan.config.deblur
    title = (
        f"Pipeline against a bare loop: {len(plan.windows)} tiles of {read.core} px with a halo of "
        f"{read.halo} px, {deblur.weights}, backend {deblur.backend}, {deblur.dtype}"
    )
    sheet = Sheet(title, ("", LOOP, PIPELINE, "pipeline / loop", "processor time, loop / pipeline"))
    for span, laps in known.items():
        loop, ours = laps[LOOP], laps[PIPELINE]
        cpu = "" if span == "windows" else str(_cpu_ratio(loop, ours))
        speeds = (str(speed_of(each)) for each in (loop, ours))
        sheet.add(f"{span}, MPix/s", *speeds, str(compare(ours, loop)), cpu)
    return sheet


def _cpu_ratio(loop: Sequence[Lap], ours: Sequence[Lap]) -> Spread:
    return Spread.of([one.cpu / two.cpu for one, two in zip(loop, ours, strict=True)])


def as_json(known: Mapping[str, Laps]) -> dict[str, dict[str, list[dict[str, float | None]]]]:
    """Return the laps as plain values; what nobody knows is None."""
    return {
        span: {
            name: [
                {key: None if math.isnan(value) else value for key, value in asdict(lap).items()}
                for lap in laps
            ]
            for name, laps in both.items()
        }
        for span, both in known.items()
    }


def main() -> int:
    """Measure, print the table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    compute_alone()
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-scene-") as folder:
        scene, _ = write_scene(given.scenes or Path(folder), given)
        plan = plan_run(production(scene, given))
        known = measure(plan, given.rounds)
    sheet = describe(plan, known)
    Console().print(sheet.for_screen())
    if given.markdown:
        given.markdown.write_text(sheet.for_page(), encoding="utf-8")
    if given.json:
        content = {"machine": asdict(machine), "title": sheet.title, "laps": as_json(known)}
        given.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
