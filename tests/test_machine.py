"""A machine is described by what speeds depend on."""

import json
from dataclasses import asdict

import numpy
import torch

from pipeline import machine
from pipeline.machine import describe_machine

CPUINFO = """\
processor\t: 0
model name\t: Fast Processor 9000
flags\t\t: fpu avx2 avx512_vnni

processor\t: 1
model name\t: Fast Processor 9000
flags\t\t: fpu avx2 avx512_vnni
"""


def test_this_machine_has_cores_memory_and_versions():
    found = describe_machine()
    assert found.cores >= 1
    assert found.memory_gib > 0.5
    assert found.versions["numpy"] == numpy.__version__
    assert found.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert "unknown" not in found.versions.values()
    assert json.loads(json.dumps(asdict(found)))["cores"] == found.cores
    assert f"{found.cores} cores" in found.facts()["processor"]


def test_linux_names_the_processor_and_its_instructions(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    model, flags = machine._read_cpuinfo(path)
    assert model == "Fast Processor 9000"
    assert {"avx2", "avx512_vnni"} <= flags
    assert machine._read_cpuinfo(tmp_path / "none") == ("", set())
