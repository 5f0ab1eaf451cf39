"""What a machine is: numbers that were measured on it say nothing without."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from models.device_use import gpu_names
from pipeline.identity import DISTRIBUTION, code_version, version_of
from pipeline.workers import usable_cores

LIBRARIES = ("numpy", "torch", "openvino", "onnxruntime", "nncf", "ultralytics", "apache-beam")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd")
"""Sets of instructions that the speed of networks depends on, as Linux names them."""


@dataclass(frozen=True)
class Machine:
    """A processor and what computes on it; `load` is that of the last minute, in processes."""

    processor: str
    cores: int
    instructions: tuple[str, ...]
    memory_gib: float
    gpus: tuple[str, ...]
    system: str
    versions: dict[str, str]
    load: float

    def facts(self) -> dict[str, str]:
        """Return it in words."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return {
            "processor": f"{self.processor}: {self.cores} cores to use, "
            f"{self.memory_gib:.0f} GiB of memory",
            "instructions": ", ".join(self.instructions) or "unknown",
            "GPUs": ", ".join(self.gpus) or "none",
            "system": self.system,
            "versions": versions,
            "load before": f"{self.load:.2f}",
        }


def describe_machine() -> Machine:
    """Describe the machine that this process runs on."""
    model, flags = _read_cpuinfo(Path("/proc/cpuinfo"))
    installed = {name: version_of(name) for name in LIBRARIES}
    versions = {"python": platform.python_version(), DISTRIBUTION: code_version(), **installed}
    return Machine(
        processor=model or platform.processor() or platform.machine(),
        cores=usable_cores(),
        instructions=tuple(name for name in INSTRUCTIONS if name in flags),
        memory_gib=psutil.virtual_memory().total / 2**30,
        gpus=tuple(gpu_names()),
        system=f"{platform.system()} {platform.release()}",
        versions={name: each for name, each in versions.items() if each != "unknown"},
        load=os.getloadavg()[0],
    )


def _read_cpuinfo(path: Path) -> tuple[str, set[str]]:
    """Return the model's name and the instruction sets; nothing where Linux does not tell."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else "", set(flags[1].split()) if flags else set()
