"""Comparing speeds by rounds, so that whatever else a machine does meets all rivals alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Lap:
    """What one rival did in one round: megapixels, wall seconds, and seconds of all processors."""

    mpix: float
    wall: float
    cpu: float

    @property
    def speed(self) -> float:
        """Return MPix per second of wall time."""
        return self.mpix / self.wall


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the least and the greatest of them."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Return the spread of at least one number."""
        return Spread(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def run_rounds(rivals: Mapping[str, Callable[[], Lap]], rounds: int) -> dict[str, list[Lap]]:
    """Let every rival run once in each round, and return its laps in the order of the rounds.

    Every second round goes in the opposite order: what gets slower or faster over time then meets
    the first and the last alike.
    """
    laps: dict[str, list[Lap]] = {name: [] for name in rivals}
    for number in range(rounds):
        for name in in_turn(list(rivals), number):
            laps[name].append(rivals[name]())
    return laps


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round, counted from 0."""
    return list(names if number % 2 == 0 else reversed(names))


def speed_of(laps: Sequence[Lap]) -> Spread:
    """Return the MPix/s of a rival."""
    return Spread.of([lap.speed for lap in laps])


def compare(laps: Sequence[Lap], baseline: Sequence[Lap]) -> Spread:
    """Return how many times as fast as the baseline a rival was in the same rounds."""
    return Spread.of([ours.speed / its.speed for ours, its in zip(laps, baseline, strict=True)])


def fastest(laps: Mapping[str, Sequence[Lap]]) -> str:
    """Return the name of the rival with the greatest median speed."""
    return max(laps, key=lambda name: speed_of(laps[name]).median)
