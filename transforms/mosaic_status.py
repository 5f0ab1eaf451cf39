"""The status of cores: what became of each part of a mosaic, from the rows of a run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transforms.records import Rejected, Settled

Status = Literal["empty", "deblurred", "skipped", "fallback", "rejected"]
Place = tuple[int, int]
"""Column and row of a core's corner, in scene pixels."""

VALUES: Mapping[Status, int] = {
    "empty": 0,
    "deblurred": 1,
    "skipped": 2,
    "fallback": 3,
    "rejected": 4,
}
"""The pixel of the status file for each status."""

CLASSES: Mapping[int, tuple[str, str]] = {
    0: ("none", "no data, or not processed: the pixels of the input"),
    1: ("deblurred", "deblurred"),
    2: ("skipped", "taken for sharp: the pixels of the input"),
    3: ("fallback", "the network's output was not believed: the pixels of the input"),
    4: ("rejected", "a fault, see the table rejected: the pixels of the input"),
}
"""The legend of the status file: value to name and description."""

COLOURS: Sequence[tuple[int, int, int]] = (
    (0, 0, 0),
    (51, 160, 44),
    (166, 206, 227),
    (255, 127, 0),
    (227, 26, 28),
)
"""How the values 0 to 4 are shown."""


@dataclass(frozen=True)
class Receipt:
    """What became of one core of a scene: all that an assembly has to know of a tile."""

    scene: str
    place: Place
    status: Status


def receipts_of(settled: Settled) -> list[Receipt]:
    """Return the receipt of a settled window; a scene that was never opened has none.

    >>> lost = Rejected("a.tif:512,0", "a.tif", "read", "RasterioIOError", "cannot be read")
    >>> receipts_of(lost)
    [Receipt(scene='a.tif', place=(512, 0), status='rejected')]
    """
    if isinstance(settled, Rejected):
        # A key is `scene:column,row`, that of a scene its name, and names hold no colon.
        place = settled.key.removeprefix(settled.scene).lstrip(":")
        if not place:
            return []
        col, row = place.split(",")
        return [Receipt(settled.scene, (int(col), int(row)), "rejected")]
    core = settled.window.core
    status: Status = "deblurred"
    if settled.status == "empty":
        status = "empty"
    elif settled.fallback:
        status = "fallback"
    elif settled.skipped:
        status = "skipped"
    return [Receipt(settled.window.scene.name, (core.col_off, core.row_off), status)]


def count_statuses(statuses: Iterable[Status]) -> dict[Status, int]:
    """Return how many cores have each status, all five in a fixed order."""
    found = list(statuses)
    return {status: found.count(status) for status in VALUES}
