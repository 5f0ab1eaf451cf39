"""GroupPacked: group by key, with values that wait as bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam

from transforms.packing import pack, unpack

Key = TypeVar("Key")


@dataclass
class GroupPacked(beam.PTransform):
    """Group by keys of a type, as GroupByKey does; values wait packed."""

    key: Any

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pairs: beam.PCollection) -> beam.PCollection:
        """Map (key, value) to (key, list of values)."""
        return (
            pairs
            | "Pack" >> beam.MapTuple(pack_value).with_output_types(tuple[self.key, bytes])  # type: ignore[name-defined]
            | "Group" >> beam.GroupByKey()
            | "Unpack" >> beam.MapTuple(unpack_values)
        )


def pack_value(key: Key, value: object) -> tuple[Key, bytes]:
    """Return the value as bytes."""
    return key, pack(value)


def unpack_values(key: Key, values: Iterable[bytes]) -> tuple[Key, list[Any]]:
    """Return the values as they were."""
    return key, [unpack(value) for value in values]
