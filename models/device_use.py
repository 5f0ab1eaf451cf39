"""What networks use of devices: how many pictures ran where, and how long a GPU computed them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DeviceUse:
    """Pictures by the name of the device that they ran on, and microseconds that GPUs were busy.

    A CPU's time is not known: only a GPU keeps a clock of its own.
    """

    pictures: Mapping[str, int] = field(default_factory=dict)
    busy: int = 0


class _Meter:
    """What the networks of this process used since somebody last asked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pictures: Counter[str] = Counter()
        self._busy = 0

    def add(self, device: str, pictures: int, busy: int) -> None:
        with self._lock:
            self._pictures[device] += pictures
            self._busy += busy

    def take(self) -> DeviceUse:
        with self._lock:
            use = DeviceUse(dict(self._pictures), self._busy)
            self._pictures.clear()
            self._busy = 0
        return use


_meter = _Meter()


def take_device_use() -> DeviceUse:
    """Return what the networks of this process used since the last call, in any thread."""
    return _meter.take()


@contextmanager
def computing(device: "torch.device | str", pictures: int) -> Iterator[None]:
    """Count pictures that the block computes, and how long it keeps a GPU busy, copies included.

    The block ends when the GPU has: put it around what waits for the result anyway. What fails is
    not counted.
    """
    kind = str(device).partition(":")[0]
    if kind != "cuda":
        yield
        _meter.add(kind, pictures, 0)
        return
    import torch  # CPUs may compute with something else, and it takes seconds to import.

    stream = torch.cuda.current_stream(device)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record(stream)
    yield
    end.record(stream)
    end.synchronize()
    name = f"{kind} {torch.cuda.get_device_name(device)}"
    _meter.add(name, pictures, round(1000 * begin.elapsed_time(end)))


def gpu_names() -> list[str]:
    """Return the names of the GPUs that this process can use."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(index) for index in range(count)]
