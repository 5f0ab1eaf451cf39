"""Unit files: a finished window as bytes that show every damage, and nothing that can run code.

Other files beside them are sealed: their SHA-256 follows their content.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache
from typing import get_args, get_origin

import cattrs
import msgpack
import numpy as np
from cattrs.gen import make_dict_unstructure_fn, override
from numpy.typing import NDArray

from transforms.measure import MeasuredTile
from transforms.records import Scene, TileRow
from transforms.redaction import redact_all

Finished = MeasuredTile | TileRow
"""A window that came to a result: measured, or empty."""

PlainArray = tuple[str, tuple[int, ...], bytes]
"""Of an array: dtype, shape, and elements in C order."""

MAGIC = b"aerial-deblur unit 1\n"
_DIGEST = hashlib.sha256().digest_size


class UnitError(ValueError):
    """Bytes that are no unit file, or a damaged one."""


def encode_unit(finished: Finished) -> bytes:
    """Return a finished window as bytes: a header, their SHA-256, and compressed MessagePack."""
    kind = type(finished).__name__
    content = _converter().unstructure(finished)
    packed = zlib.compress(msgpack.packb([kind, content], default=_to_number), 1)
    return MAGIC + hashlib.sha256(packed).digest() + packed


def decode_unit(content: bytes) -> Finished:
    """Return the finished window that was encoded; raises UnitError for anything else."""
    header = len(MAGIC)
    digest, packed = content[header : header + _DIGEST], content[header + _DIGEST :]
    if not content.startswith(MAGIC) or hashlib.sha256(packed).digest() != digest:
        raise UnitError(f"{len(content)} bytes are no unit file, or a damaged one")
    try:
        kind, known = msgpack.unpackb(zlib.decompress(packed), use_list=False, strict_map_key=False)
        if kind == TileRow.__name__:
            return _converter().structure(known, TileRow)
        return _converter().structure(known, MeasuredTile)
    except Exception as error:  # of zlib, msgpack or cattrs: whoever made it was no encode_unit
        raise UnitError(f"a unit file of another version: {error}") from error


def seal(content: bytes) -> bytes:
    """Return bytes with their SHA-256 behind them, where readers of GeoTIFFs do not look."""
    return content + hashlib.sha256(content).digest()


def is_sealed(content: bytes) -> bool:
    """Say whether bytes are as `seal` returned them."""
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


@cache
def _converter() -> cattrs.Converter:
    """Return what turns records into plain values and back, by the types of their fields."""
    converter = cattrs.Converter()
    converter.register_unstructure_hook(Fraction, str)
    converter.register_structure_hook(Fraction, lambda text, _: Fraction(text))
    converter.register_unstructure_hook_func(_is_array, _array_to_plain)
    converter.register_structure_hook_func(_is_array, _plain_to_array)
    # Keys of a map of MessagePack are texts: ours can be tuples, so maps become pairs.
    converter.register_unstructure_hook_factory(
        _is_mapping, lambda kind: lambda value: _mapping_to_pairs(value, kind, converter)
    )
    converter.register_structure_hook_func(
        _is_mapping, lambda pairs, kind: _pairs_to_mapping(pairs, kind, converter)
    )
    # These may be URLs with keys; a name, which may look like one, is what windows are known by.
    hidden = override(unstruct_hook=redact_all)
    without_keys = make_dict_unstructure_fn(Scene, converter, path=hidden, item=hidden)
    converter.register_unstructure_hook(Scene, without_keys)
    return converter


def _is_array(kind: object) -> bool:
    return get_origin(kind) is np.ndarray


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is Mapping


def _array_to_plain(array: NDArray[np.generic]) -> PlainArray:
    return array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()


def _plain_to_array(plain: PlainArray, _: object) -> NDArray[np.generic]:
    dtype, shape, content = plain
    # A copy: an array over bytes cannot be written to.
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape).copy()


def _mapping_to_pairs(
    value: Mapping[object, object], kind: object, converter: cattrs.Converter
) -> list[tuple[object, object]]:
    keys, values = get_args(kind)
    return [
        (converter.unstructure(key, keys), converter.unstructure(each, values))
        for key, each in value.items()
    ]


def _pairs_to_mapping(
    pairs: Iterable[tuple[object, object]], kind: object, converter: cattrs.Converter
) -> dict[object, object]:
    keys, values = get_args(kind)
    return {
        converter.structure(key, keys): converter.structure(each, values) for key, each in pairs
    }


def _to_number(value: object) -> object:
    """Return numpy's scalars as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a unit file holds no {type(value).__name__}")
