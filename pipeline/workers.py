"""How many processes of this machine a local run gets, where `engine.workers` is `auto`."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.operations import EngineConfig
from configs.schema import RunConfig

START_SECONDS = 7.3
"""What a run in several processes takes longer than one in this process if there is next to nothing
to do (measured on two cores, docs/reliability.md): all import their libraries and load networks."""
UNKNOWN_SECONDS = 1.0
"""Per MPix read: what networks that nobody has measured are taken to need."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""How many threads numpy, Arrow and others take in a process; read when that starts."""


def choose_workers(
    config: RunConfig, *, windows: int, seconds: float | None, mpix: float, cores: int, local: bool
) -> EngineConfig:
    """Return the engine of a run with the number of its workers.

    A number in the settings stays. Otherwise: as many processes as there are cores that this one
    may use, but not more than windows; one, which is this process, where starting several takes
    longer than they save, and for a GPU. On other engines than the local one it is 1, because
    nobody here knows their machines. `seconds` is what the networks take in one process, None if
    unknown, for `mpix` to read.
    """
    engine = config.engine
    if engine.workers != "auto":
        return engine
    workers = min(cores, windows)
    on_gpu = config.deblur.device != "cpu" or config.detect.device != "cpu"
    if not local or on_gpu or workers < 2:
        return _with(engine, 1)
    alone = UNKNOWN_SECONDS * mpix if seconds is None else seconds
    saved = alone * (1 - 1 / workers)
    return _with(engine, workers if saved > START_SECONDS else 1)


def usable_cores() -> int:
    """Return how many processors this process may use: by affinity, and by a container's quota."""
    bound = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    quota = cpu_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(root: Path, own: Path) -> float | None:
    """Return how many processors' time control groups (version 2) allow; None without a limit.

    `own` is the file that says which group below `root` is this process's; all groups above it
    have a say.
    """
    if not own.exists():
        return None
    name = re.search(r"^0::/(.*)$", own.read_text(encoding="utf-8"), re.MULTILINE)
    parts = Path(name[1] if name else "").parts
    groups = [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    limits = [group / "cpu.max" for group in groups]
    words = [limit.read_text(encoding="utf-8").split() for limit in limits if limit.is_file()]
    known = [int(quota) / int(period) for quota, period in words if quota != "max"]
    return min(known, default=None)


def _with(engine: EngineConfig, workers: int) -> EngineConfig:
    return engine.model_copy(update={"workers": workers})


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that are started within the block compute on one thread, each on its core.

    What the environment says already stays.
    """
    added = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
