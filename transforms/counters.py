"""What workers count, for the engine to sum: how windows end, devices, bytes, memory."""

import re
from collections.abc import Sequence
from pathlib import Path

from apache_beam.metrics import Metrics

from models.device_use import take_device_use
from transforms.records import Rejected, Settled

TILES = "tiles"
"""Of the counters `measured`, `empty`, `rejected`, `resumed`."""
REJECTS = "rejects"
"""Of counters named after the stages of rejects."""
PIXELS = "pixels"
"""Of the counters `read`, with halos, and `kept`, those of cores."""
WRITTEN = "bytes_written"
"""Of counters named after what is written: `units`, `tables`."""
BATCH = "batch_tiles"
"""Namespace and name of the distribution of the sizes of batches, without what is settled."""
DEVICES = "device_pictures"
"""Of counters named after the devices that networks used."""
GPU_BUSY = "gpu_microseconds"
"""Namespace and name of the counter of the time in which GPUs computed."""
MEMORY = "peak_mib"
"""Namespace and name of the distribution of the memory that processes took at most until then."""

_STATUS = Path("/proc/self/status")


def count_settled(settled: Settled) -> None:
    """Count a window that came to its end here."""
    if isinstance(settled, Rejected):
        Metrics.counter(TILES, "rejected").inc()
        Metrics.counter(REJECTS, settled.stage).inc()
        return
    Metrics.counter(TILES, settled.status).inc()
    Metrics.counter(PIXELS, "kept").inc(settled.window.core.area)


def count_devices() -> None:
    """Count what the networks of this process used since the last count."""
    use = take_device_use()
    for device, pictures in use.pictures.items():
        Metrics.counter(DEVICES, device).inc(pictures)
    if use.busy:
        Metrics.counter(GPU_BUSY, GPU_BUSY).inc(use.busy)


def count_batch(tiles: Sequence[object]) -> None:
    """Count a batch by its size."""
    Metrics.distribution(BATCH, BATCH).update(len(tiles))


def note_memory() -> None:
    """Note what this process has held at most, where the system says so."""
    peak = peak_mib()
    if peak is not None:
        Metrics.distribution(MEMORY, MEMORY).update(peak)


def peak_mib() -> int | None:
    """Return the most memory that this process has held, in MiB; None where nobody knows."""
    if not _STATUS.exists():
        return None
    # Not getrusage: it hands on the peak of the process that started this one.
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))
    return int(found[1]) // 1024 if found else None
