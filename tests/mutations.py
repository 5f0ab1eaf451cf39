"""Mutations: small changes to valid files, made where the format has its joints."""

import copy
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**32 - 1)
WORDS = (
    *("", " ", "\0", "..", "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "a\nb"),
    *("/vsicurl/http://127.0.0.1:9/a.tif", "/vsizip/a.zip/b.tif", "http://169.254.169.254/"),
    *("https://2852039166/a.tif", "s3://bucket/a.tif", "vrt://a.tif", "<VRTDataset/>", "{}"),
    *("nan", "-inf", "1e999", "-1", "0", "9" * 400, "x" * 5000, "\ud800", "\u202e", "ü", "%s%n"),
    *("EPSG:0", "EPSG:4326", "null", "true", "2026-13-45", "2026-05-01T00:00:00Z", "[", "a: b: c"),
)
ODD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan")),
    *(float("inf"), [], {}, [[]], [None], {"": None}, {"type": "Feature"}, [1, "a", None]),
)

TAGS = (
    *(254, 256, 257, 258, 259, 262, 273, 277, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338),
    *(347, 33550, 33922, 34264, 34735, 34736, 34853, 42112, 42113),
)
"""Of TIFF: sizes, layout, compression, colours, places, metadata."""
INSIDE = (
    "<PixelFunctionType>expression</PixelFunctionType>",
    *(
        "<!-- <a> -->",
        "<![CDATA[a]]>",
        '<!DOCTYPE a [<!ENTITY b "c">]>',
        "&b;",
        "&#0;",
        "<a>" * 500,
    ),
    '<SourceFilename relativeToVRT="0">/etc/passwd</SourceFilename>',
    '<SourceFilename relativeToVRT="1">../a.tif</SourceFilename>',
    '<OpenOptions><OOI key="ROOT_PATH">/</OOI></OpenOptions>',
    '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI></Metadata>',
)
"""What has no business in a VRT."""

Mutator = Callable[[Random, bytes], bytes]


def interesting(random: Random, size: int) -> bytes:
    """Return a number of that many bytes, in either order."""
    number = random.choice((*NUMBERS, random.getrandbits(8 * size))) % 2 ** (8 * size)
    return number.to_bytes(size, random.choice(("little", "big")))


def scramble(random: Random, content: bytes) -> bytes:
    """Return bytes with a few changes that know nothing of their format."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        at = random.randrange(len(changed) + 1)
        if random.random() < 0.5:
            at = min(at, random.randrange(512))  # headers say more than pixels
        size = random.choice((1, 2, 4, 8))
        kind = random.choice((0, 0, 1, 1, 1, 6, 6, 2, 3, 4, 5))
        if kind == 0:
            changed[at : at + 1] = bytes([random.getrandbits(8)])
        elif kind == 1:
            changed[at : at + size] = interesting(random, size)
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + random.randrange(64)]
        elif kind == 4:
            other = random.randrange(len(changed) + 1)
            changed[at:at] = changed[other : other + random.randrange(256)]
        elif kind == 5:
            changed[at:at] = random.choice(WORDS).encode("utf-8", "surrogatepass")
        elif changed:
            changed[at % len(changed)] ^= 1 << random.randrange(8)
    return bytes(changed)


def or_scrambled(mutate: Mutator, share: float = 0.3) -> Mutator:
    """Return a mutator that sometimes scrambles instead, and sometimes does both."""

    def either(random: Random, content: bytes) -> bytes:
        chance = random.random()
        if chance < share:
            return scramble(random, content)
        changed = mutate(random, content)
        return scramble(random, changed) if chance > 1 - share / 3 else changed

    return either


def tiff(random: Random, content: bytes) -> bytes:
    """Change entries of the directories of a classic little-endian TIFF."""
    changed = bytearray(content)
    entries = list(_tiff_entries(content))
    if not entries:
        return scramble(random, content)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.choice(entries)
        field, size = random.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 4)))
        if field == 0:
            tag = random.choice(TAGS)
            changed[at : at + 2] = struct.pack("<H", tag)
        elif field == 2:
            changed[at + 2 : at + 4] = struct.pack("<H", random.randrange(20))
        else:
            changed[at + field : at + field + size] = interesting(random, size)
    if random.random() < 0.1:  # a directory that leads to itself
        changed[-4:] = changed[4:8]
    return bytes(changed)


def _tiff_entries(content: bytes) -> Iterator[int]:
    """Yield where each entry of each directory begins."""
    seen: set[int] = set()
    place = int.from_bytes(content[4:8], "little")
    while content[:4] == b"II*\0" and 8 <= place < len(content) - 2 and place not in seen:
        seen.add(place)
        count = int.from_bytes(content[place : place + 2], "little")
        end = place + 2 + 12 * count
        if end + 4 > len(content):
            return
        yield from range(place + 2, end, 12)
        place = int.from_bytes(content[end : end + 4], "little")


def jpeg(random: Random, content: bytes) -> bytes:
    """Change, drop, repeat or invent segments of a JPEG."""
    segments, rest = _jpeg_segments(content)
    if not segments:
        return scramble(random, content)
    at = random.randrange(len(segments))
    kind = random.randrange(5)
    if kind == 0:
        marker = random.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2))
        segments[at] = b"\xff" + bytes([marker]) + segments[at][2:]
    elif kind == 1:
        segments[at] = segments[at][:2] + interesting(random, 2) + segments[at][4:]
    elif kind == 2:
        del segments[at]
    elif kind == 3:
        segments.insert(at, segments[random.randrange(len(segments))])
    else:
        body = scramble(random, segments[at][4:])[:65000]
        segments[at] = segments[at][:2] + struct.pack(">H", len(body) + 2) + body
    return b"\xff\xd8" + b"".join(segments) + rest


def _jpeg_segments(content: bytes) -> tuple[list[bytes], bytes]:
    """Return the segments before the first scan, and what follows."""
    segments, at = [], 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] != b"\xda":
        size = int.from_bytes(content[at + 2 : at + 4], "big")
        segments.append(content[at : at + 2 + size])
        at += 2 + max(size, 2)
    return segments, content[at:]


def png(random: Random, content: bytes) -> bytes:
    """Change, drop, repeat or invent chunks of a PNG; most checksums are right again."""
    chunks = list(_png_chunks(content))
    at = random.randrange(len(chunks))
    name, body = chunks[at]
    kind = random.randrange(5)
    if kind == 0:
        name = random.choice(
            (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"zTXt", b"acTL", b"eXIf")
        )
    elif kind in (1, 2):
        body = scramble(random, body)
    elif kind == 3:
        chunks.insert(at, random.choice(chunks))
    else:
        body = zlib.compress(bytes(random.choice(NUMBERS[:12]))) if name == b"IDAT" else body[:-1]
    chunks[at] = (name, body)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(random, *chunk) for chunk in chunks)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        at += 12 + size


def _png_chunk(random: Random, name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body) if random.random() < 0.95 else 0
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def boxes(random: Random, content: bytes) -> bytes:
    """Change sizes, names and order of the boxes of a JPEG 2000 file."""
    parts, at = [], 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big") or len(content) - at
        parts.append(content[at : at + max(size, 8)])
        at += max(size, 8)
    chosen = random.randrange(len(parts))
    kind = random.randrange(4)
    if kind == 0:
        parts[chosen] = interesting(random, 4) + parts[chosen][4:]
    elif kind == 1:
        parts[chosen] = parts[chosen][:8] + scramble(random, parts[chosen][8:])
    elif kind == 2:
        parts.insert(chosen, random.choice(parts))
    else:
        codestream = parts[-1]
        marker = random.choice((0xFF51, 0xFF52, 0xFF5C, 0xFF90, 0xFF93, 0xFF64))
        place = codestream.find(struct.pack(">H", marker))
        if place > 0:
            place += random.randrange(48)
            codestream = codestream[:place] + interesting(random, 2) + codestream[place + 2 :]
        parts[-1] = codestream
    return b"".join(parts)


def riff(random: Random, content: bytes) -> bytes:
    """Change sizes and names of the chunks of a WebP."""
    at = random.choice((4, 12, 16, 20, 24, 26))
    size = random.choice((2, 4))
    if at == 12:
        return (
            content[:12]
            + random.choice((b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"EXIF"))
            + content[16:]
        )
    return content[:at] + interesting(random, size) + content[at + size :]


def text(random: Random, content: bytes) -> bytes:
    """Change words, numbers and lines of a text."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(lines))
        words = lines[at].split(" ")
        spot = random.randrange(len(words))
        kind = random.randrange(5)
        if kind in (0, 1):
            words[spot] = random.choice((*WORDS, *map(str, NUMBERS)))
            lines[at] = " ".join(words)
        elif kind == 2:
            del lines[at]
            lines = lines or [""]
        elif kind == 3:
            lines.insert(at, random.choice(lines))
        else:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
    return "\n".join(lines).encode("utf-8", "surrogatepass" if random.random() < 0.1 else "replace")


def xml(random: Random, content: bytes) -> bytes:
    """Change tags, attributes and texts of XML."""
    pieces = content.decode("utf-8", "replace").replace("<", "\0<").replace(">", ">\0").split("\0")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(pieces))
        kind = random.randrange(6)
        if kind == 0:
            pieces[at] = random.choice(WORDS) if not pieces[at].startswith("<") else pieces[at]
        elif kind == 1:
            pieces.insert(at, random.choice(pieces))
        elif kind == 2:
            del pieces[at]
            pieces = pieces or [""]
        elif kind == 3:
            other = random.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif kind == 4:
            digits = [i for i, piece in enumerate(pieces) if any(map(str.isdigit, piece))]
            if digits:
                spot = random.choice(digits)
                old = random.choice([c for c in pieces[spot] if c.isdigit()])
                pieces[spot] = pieces[spot].replace(old, str(random.choice(NUMBERS)), 1)
        else:
            pieces.insert(at, random.choice(INSIDE))
    return "".join(pieces).encode("utf-8", "surrogatepass")


def tree(random: Random, content: Any) -> Any:
    """Return JSON-like content with some of its values, keys or lists changed."""
    changed = copy.deepcopy(content)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holders = list(_holders(changed))
        if not holders:
            return random.choice(ODD)
        holder, key = random.choice(holders)
        kind = random.randrange(8)
        if kind in (0, 1):
            holder[key] = copy.deepcopy(random.choice(ODD))
        elif kind in (2, 3):
            holder[key] = random.choice(WORDS)
        elif kind == 4:
            del holder[key]
        elif kind == 5:
            other, its = random.choice(holders)
            holder[key] = copy.deepcopy(other[its])
        elif kind == 6 and isinstance(holder, dict):
            holder[random.choice((*WORDS, *holder))] = holder.pop(key)
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(random.choice(holder)))
        else:
            holder[key] = [holder[key]]
    return changed


def _holders(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a tree, as what holds it and its key there."""
    if isinstance(content, dict):
        keys = list(content.items())
    else:
        keys = list(enumerate(content)) if isinstance(content, list) else []
    for key, value in keys:
        yield content, key
        yield from _holders(value)


def as_json(random: Random, content: Any) -> bytes:
    """Return a mutated tree as JSON, or JSON whose text was mutated."""
    chance = random.random()
    if chance < 0.02:
        deep = random.choice(("[", '{"a":', '{"features":['))
        return deep.encode() * random.choice((50, 1000, 100_000))
    written = json.dumps(tree(random, content) if chance < 0.8 else content).encode()
    return written if chance < 0.75 else scramble(random, written)
