"""Records as bytes while they wait: those of a whole run, with many small arrays, are mostly air.

An engine holds what it groups until all is there, and what it groups are objects.
"""

import pickle
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

Record = TypeVar("Record")


class Packed:
    """A dataclass that is pickled compressed."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[type, bytes]]:
        return _restore, (type(self), pack(vars(self)))


def _restore(kind: type[Record], packed: bytes) -> Record:
    record = object.__new__(kind)
    vars(record).update(unpack(packed))
    return record


def pack(content: object) -> bytes:
    """Return anything as bytes."""
    return zlib.compress(pickle.dumps(content, pickle.HIGHEST_PROTOCOL), 1)


def unpack(packed: bytes) -> Any:  # noqa: ANN401 - what was packed
    """Return what was packed, by this program and in this run: bytes of others could run code."""
    return pickle.loads(zlib.decompress(packed))
