"""Seams: whether tiles that were processed apart show where they meet.

edge of a core -> meets its neighbour's -> added up along a line of borders -> by stratum -> numbers

The outermost pixels of every core, in few places, are the only pixels that cross a shuffle.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import apache_beam as beam

from transforms.edges import Picture
from transforms.functional.seams import Border, Edge, Jumps, Seams, jumps_between
from transforms.group_packed import GroupPacked
from transforms.measure import MeasuredTile
from transforms.records import Settled, SummaryRow, Truth
from transforms.seam_rows import seam_rows
from transforms.strata import ALL, Stratum

BorderKey = tuple[Picture, Border]
Line = tuple[str, Truth, int, int]
"""Scene, truth, axis and position: a line of borders, under every blur of the scene."""


@dataclass
class SumSeams(beam.PTransform):
    """Compare the jumps across the borders of cores with those inside, per scene and over all."""

    def expand(self, measured: beam.PCollection) -> beam.PCollection:
        """Map measured windows to `SummaryRow`; windows that settled earlier have no edges."""
        return (
            measured
            | "Edges" >> beam.FlatMap(edges_of)
            | "Meet" >> GroupPacked(BorderKey)
            | "Jumps" >> beam.MapTuple(jumps_by_line)
            | "SumLine" >> beam.CombinePerKey(add_jumps)
            | "Strata" >> beam.FlatMapTuple(seams_by_stratum)
            | "SumStratum" >> beam.CombinePerKey(add_seams)
            | "Describe" >> beam.FlatMapTuple(seam_rows)
        )


def sum_seams(measured: Iterable[MeasuredTile | Settled]) -> list[SummaryRow]:
    """Do what `SumSeams` does, in one process."""
    borders: dict[BorderKey, list[Edge]] = defaultdict(list)
    for tile in measured:
        for key, edge in edges_of(tile):
            borders[key].append(edge)
    lines: dict[Line, Jumps] = defaultdict(Jumps)
    for key, edges in borders.items():
        line, jumps = jumps_by_line(key, edges)
        lines[line] += jumps
    strata: dict[Stratum, Seams] = defaultdict(Seams.none)
    for line, jumps in lines.items():
        for stratum, seams in seams_by_stratum(line, jumps):
            strata[stratum] += seams
    return [row for stratum, seams in strata.items() for row in seam_rows(stratum, seams)]


def edges_of(measured: MeasuredTile | Settled) -> Iterator[tuple[BorderKey, Edge]]:
    """Yield the edges of a measured window by their border; the others have none."""
    if isinstance(measured, MeasuredTile):
        for border, edge in measured.edges.edges.items():
            yield (measured.edges.picture, border), edge


def jumps_by_line(key: BorderKey, edges: Iterable[Edge]) -> tuple[Line, Jumps]:
    """Return the line of a border and the jumps there; none where a neighbour is missing."""
    (scene, truth, _), (axis, position, _, _) = key
    met = list(edges)
    return (scene, truth, axis, position), jumps_between(*met) if len(met) == 2 else Jumps()


def add_jumps(parts: Iterable[Jumps]) -> Jumps:
    """Add jumps; the order does not matter."""
    return reduce(add, parts, Jumps())


def seams_by_stratum(line: Line, jumps: Jumps) -> Iterator[tuple[Stratum, Seams]]:
    """Yield what one line of borders adds to the whole run and to its scene."""
    scene, truth, _, _ = line
    yield (ALL, truth), Seams.of(jumps)
    yield (f"scene={scene}", truth), Seams.of(jumps)


def add_seams(parts: Iterable[Seams]) -> Seams:
    """Add sums; the order does not matter."""
    return reduce(add, parts, Seams.none())
