"""Border objects: seen by two windows, they belong to exactly one of them.

Two windows see the same object in slightly different surroundings, so its box can differ by a
fraction of a pixel, and its score by a little. Where its centre lies next to a core's border, both
windows may claim it, or neither. Here the views of all windows of a scene are laid side by side:
what is one object in two views is claimed by one.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import iou_matrix
from transforms.functional.windows import Rectangle

SAME = 0.5
"""Intersection over union from which boxes of two views are one object."""

LEADING = "before"
"""The arm whose box says where an object lies."""

Index = NDArray[np.intp]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SeenBoxes:
    """Boxes of one arm near a core's border: xyxy float32 (k, 4) in scene pixels, classes (k,).

    `index` (k,) are their places among the sightings; `claimed` says which the core claims.
    """

    xyxy: NDArray[np.float32]
    classes: NDArray[np.int32]
    claimed: Flags
    index: Index


@dataclass(frozen=True, eq=False)
class BorderView:
    """What one window saw near the border of its core, by arm.

    `bonds` are pairs of (arm, place) that are one object: places count within the arm's boxes.
    """

    key: str
    core: Rectangle
    arms: Mapping[str, SeenBoxes]
    bonds: tuple[tuple[tuple[str, int], tuple[str, int]], ...]


@dataclass(frozen=True)
class Claim:
    """Sighting `index` of an arm of the window `key` is the window's, or is not."""

    key: str
    arm: str
    index: int
    claimed: bool


Node = tuple[int, str, int]
"""View, arm, and place among the arm's boxes."""


def settle_borders(views: Sequence[BorderView]) -> list[Claim]:
    """Return the claims that must change so that every object of a scene has one owner.

    What only one window sees, and what exactly one claims whole, stays as it is. Else it goes to
    one of the windows that claim a part of it or, where none does, of all that see it: to one that
    sees it in the `LEADING` arm if any does, and of these to the one in whose core it lies deepest.
    The order of the views does not matter.
    """
    ordered = sorted(views, key=lambda view: view.core)
    groups = _Groups()
    for number, view in enumerate(ordered):
        for (arm, place), (other, partner) in view.bonds:
            groups.join((number, arm, place), (number, other, partner))
    for first, second in _neighbours(ordered):
        for arm in ordered[first].arms.keys() & ordered[second].arms.keys():
            pairs = _same_boxes(ordered[first].arms[arm], ordered[second].arms[arm])
            for place, partner in pairs:
                groups.join((first, arm, place), (second, arm, partner))
    return [claim for group in groups.members() for claim in _settle(group, ordered)]


def _settle(group: list[Node], views: Sequence[BorderView]) -> Iterator[Claim]:
    """Yield the claims of one object that must change."""
    seers = {number for number, _, _ in group}
    if len(seers) < 2:
        return
    claimants = {n for n, arm, place in group if views[n].arms[arm].claimed[place]}
    rivals = claimants or seers
    owner = max(rivals, key=lambda n: (*_standing(group, n, views[n]), -n))
    for number, arm, place in group:
        boxes = views[number].arms[arm]
        if boxes.claimed[place] != (number == owner):
            yield Claim(views[number].key, arm, int(boxes.index[place]), number == owner)


def _standing(group: list[Node], number: int, view: BorderView) -> tuple[bool, float]:
    """Say whether a view sees the object in the leading arm, and how deep in its core, in px.

    By the boxes of that arm alone where there are any: so an arm that equals it, as `null` does,
    is settled the same.
    """
    mine = [(arm, place) for n, arm, place in group if n == number]
    leading = [node for node in mine if node[0] == LEADING]
    return bool(leading), max(_depth(view, arm, place) for arm, place in leading or mine)


def _depth(view: BorderView, arm: str, place: int) -> float:
    core = view.core
    x0, y0, x1, y1 = view.arms[arm].xyxy[place].astype(np.float64).tolist()
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    across = min(x - core.col_off, core.col_off + core.width - x)
    along = min(y - core.row_off, core.row_off + core.height - y)
    return min(across, along)


def _same_boxes(a: SeenBoxes, b: SeenBoxes) -> Iterator[tuple[int, int]]:
    """Yield the places of boxes that are one object, each once, the best overlap first."""
    if not len(a.index) or not len(b.index):
        return
    overlap = iou_matrix(a.xyxy, b.xyxy)
    overlap[a.classes[:, None] != b.classes[None, :]] = 0
    rows, columns = np.nonzero(overlap >= SAME)
    order = np.lexsort((columns, rows, -overlap[rows, columns]))
    taken_a, taken_b = set(), set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_a and column not in taken_b:
            taken_a.add(row)
            taken_b.add(column)
            yield row, column


def _neighbours(views: Sequence[BorderView]) -> Iterator[tuple[int, int]]:
    """Yield each pair of views whose cores touch, also at a corner, the first one first."""
    corners = defaultdict(list)
    for number, view in enumerate(views):
        core = view.core
        right, bottom = core.col_off + core.width, core.row_off + core.height
        for x in (core.col_off, right):
            for y in (core.row_off, bottom):
                corners[x, y].append(number)
    pairs = {
        (first, second)
        for meeting in corners.values()
        for place, first in enumerate(meeting)
        for second in meeting[place + 1 :]
    }
    yield from sorted(pairs)


class _Groups:
    """Nodes joined into groups (a union-find); a node that was never joined is in none."""

    def __init__(self) -> None:
        self._parent: dict[Node, Node] = {}

    def join(self, a: Node, b: Node) -> None:
        first, second = self._root(a), self._root(b)
        self._parent[max(first, second)] = min(first, second)

    def members(self) -> list[list[Node]]:
        """Return the groups, each sorted, in the order of their first nodes."""
        groups: dict[Node, list[Node]] = defaultdict(list)
        for node in sorted(self._parent):
            groups[self._root(node)].append(node)
        return list(groups.values())

    def _root(self, node: Node) -> Node:
        parent = self._parent.setdefault(node, node)
        while parent != self._parent[parent]:
            parent = self._parent[parent]
        self._parent[node] = parent
        return parent
