"""The scene of the benchmarks of a whole run, and the settings of the runs that they time."""

import argparse
import math
from pathlib import Path

import cv2

from configs.load import validate
from configs.schema import RunConfig
from pipeline.demo import write_demo_scene
from transforms.inference import use_one_thread

HALO = 160
"""Pixels around a core that the shipped deblurrers want."""
CLASSES = {"car": "vehicle", "van": "vehicle", "truck": "vehicle", "bus": "vehicle"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what all of these benchmarks can be told."""
    parser.add_argument("--tiles", type=int, default=100, help="at least so many")
    parser.add_argument("--core", type=int, default=512, help="pixels")
    parser.add_argument("--halo", type=int, default=HALO, help="pixels")
    parser.add_argument("--backend", default="auto", help="deblur.backend and detect.backend")
    parser.add_argument("--dtype", default="float32", help="deblur.dtype")
    parser.add_argument("--weights", default="deblur_dsc", help="deblur.weights")
    parser.add_argument("--scenes", type=Path, help="a folder that keeps the rendered scene")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")


def write_scene(folder: Path, given: argparse.Namespace) -> tuple[Path, Path]:
    """Render one square scene of at least so many whole cores, with labels; return both files."""
    side = math.isqrt(given.tiles - 1) + 1
    return write_demo_scene(folder, size=side * given.core)


def production(scene: Path, given: argparse.Namespace) -> RunConfig:
    """Return the settings of a nightly run: no truth, no controls, nothing done twice."""
    return validate(RunConfig, _sections(scene, given), source="production")


def evaluation(scene: Path, labels: Path, given: argparse.Namespace) -> RunConfig:
    """Return the settings of an evaluation: labels, synthetic blur, all controls but the oracle."""
    sections = _sections(scene, given)
    sections["input"] |= {"labels": str(labels), "label_classes": CLASSES}
    sections["read"] |= {"blur": {"lengths": [9], "angles": [30]}}
    sections["arms"] = {"oracle": {"method": "none"}}
    del sections["measure"]
    return validate(RunConfig, sections, source="evaluation")


def compute_alone() -> None:
    """Let this process compute on one thread, as a worker does."""
    use_one_thread()
    cv2.setNumThreads(1)


def _sections(scene: Path, given: argparse.Namespace) -> dict[str, dict[str, object]]:
    backend = {"backend": given.backend}
    return {
        "input": {"scenes": [str(scene)]},
        "read": {"core": given.core, "halo": given.halo},
        "deblur": {"weights": given.weights, "dtype": given.dtype} | backend,
        "detect": dict(backend),
        "arms": {"controls": []},
        "measure": {"stability": 0},
        "engine": {"workers": 1},  # this process
    }
