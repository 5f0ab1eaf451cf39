"""How fast a small run of the main job is as a whole, as a user starts it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from upath import UPath

from pipeline import manifest
from pipeline.demo import write_demo_scene
from pipeline.sheet import Sheet

Row = dict[str, Any]


def measure_run(weights: str, side: int, folder: Path) -> Row:
    """Run the job on a rendered scene of side x side px; return seconds of it and of its stages.

    Settings are those of production: no labels, no controls, nothing looked at twice. Raises
    RuntimeError with what the run said if it fails.
    """
    scene, _ = write_demo_scene(folder / "scene", size=side)
    output = folder / "run"
    path = folder / "job.yaml"
    path.write_text(json.dumps(production(weights, scene, output)), encoding="utf-8")
    start = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if ended.returncode != 0:
        raise RuntimeError(f"the run ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
    known = manifest.read(UPath(output))
    return {
        "weights": weights,
        "side": side,
        "seconds": seconds,
        "mpix_per_second": side * side / 1e6 / seconds,
        "windows": known["counts"]["planned"],
        "workers": known["config"]["engine"]["workers"],
        "stage_seconds": known["stage_seconds"],
    }


def production(weights: str, scene: Path, output: Path) -> dict[str, Any]:
    """Return the settings of a nightly run over a scene."""
    return {
        "input": {"scenes": [str(scene)]},
        "deblur": {"weights": weights},
        "arms": {"controls": []},
        "measure": {"stability": 0},
        "output": str(output),
    }


def describe_run(row: Row) -> Sheet:
    """Return the table of a run."""
    sheet = Sheet(
        f"A run of {row['windows']} windows, {row['side']} x {row['side']} px, "
        f"workers: {row['workers']}, {row['weights']}",
        ("", "seconds"),
    )
    sheet.add("the whole command", f"{row['seconds']:.1f}")
    for stage, seconds in row["stage_seconds"].items():
        sheet.add(stage, f"{seconds:.1f}")
    sheet.add("MPix/s of the whole command", f"{row['mpix_per_second']:.2f}")
    return sheet
