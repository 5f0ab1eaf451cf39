"""What commands import: nothing that they do without, so that they start soon."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("torch", "torchvision", "ultralytics", "timm", "openvino", "onnxruntime", "nncf")
OTHERS = ("matplotlib", "pystac_client", "stac_geoparquet")
AGAIN = """
from pathlib import Path
from pipeline import identity
from pipeline.run import run
from small_runs import config_of
identity.code_version = lambda: "0.1.0"
assert run(config_of(Path({output!r}))) == {code}
"""


def imported(program: str, modules: tuple[str, ...]) -> str:
    """Return which of some modules a program imports in a fresh process."""
    program += f"\nimport sys\nprint('imported:', *(m for m in {modules} if m in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("imported:")[2].strip()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["bench", "--help"]])
def test_help_needs_nothing_but_python(arguments):
    program = f"from pipeline.cli import main\ntry: main({arguments})\nexcept SystemExit: pass"
    heavy = ("apache_beam", "numpy", "pydantic", "rasterio", "rich", "yaml")
    assert imported(program, (*NETWORKS, *OTHERS, *heavy)) == ""


def test_the_main_job_imports_no_network_before_it_needs_one():
    assert imported("import pipeline.run", (*NETWORKS, "torch._dynamo", *OTHERS)) == ""


@pytest.mark.parametrize("module", ["pipeline.detection_gain", "transforms.decoder"])
def test_who_hands_out_work_or_reads_scenes_needs_no_network(module):
    assert imported(f"import {module}", NETWORKS) == ""


def test_a_run_that_has_nothing_to_do_imports_no_network(finished):
    again = AGAIN.format(output=str(finished), code=99)
    assert imported(again, (*NETWORKS, "torch._dynamo", *OTHERS)) == ""
