"""Beginnings of files: what is a picture to us, and to every driver of GDAL.

GDAL opens what a VRT names, and what lies beside a picture, with whichever of its drivers takes it,
and some of these lead to any file or host. They look for words in the text that a file begins with,
which ends at the first zero byte.
"""

import os
import re
from collections.abc import Iterator

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""TIFF and BigTIFF."""
_OTHERS = (
    *(b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff"),  # PNG, JPEG
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51\0"),  # JPEG 2000: file, codestream
)
_BEFORE_ZERO = 36
"""Bytes that a JPEG may begin with before one is zero: a first segment of XMP has 35, and no driver
that comes before that of JPEG could name a file in so few."""
_WORDS = re.compile(rb"[\x20-\x7e\t\r\n]{8}")
"""Eight characters of text, as any driver's mark has; compressed pixels seldom do."""
BESIDE = (".ovr", ".OVR", ".msk", ".MSK")
"""What GDAL opens beside a picture, by itself."""
HEAD = 1024
"""Bytes in which drivers look for their mark."""


def is_vrt(head: bytes) -> bool:
    """Say whether GDAL takes a file that begins so for a VRT, whatever else it is."""
    return b"<vrtdataset" in head.lower()


def is_picture(head: bytes, name: str) -> bool:
    """Say whether a file that begins so is a picture, and nothing else to any driver of GDAL.

    Pictures are TIFF, PNG, JPEG, JPEG 2000 and WebP, and MBTiles if they are called so.
    """
    if is_vrt(head):
        return False
    if head.startswith((*TIFF, *_OTHERS)):
        return not head.startswith(b"\xff\xd8") or b"\0" in head[:_BEFORE_ZERO]
    if head.startswith(b"RIFF") and head[8:15] == b"WEBPVP8":
        return _WORDS.search(head.partition(b"\0")[0], 16) is None
    return head.startswith(b"SQLite format 3\0") and name.lower().endswith(".mbtiles")


def odd_sidecar(path: str) -> str | None:
    """Return a file beside a local picture that GDAL would open and that is no TIFF, or None.

    Overviews and masks have files of their own beside them, which are looked at, too.
    """
    for beside in _sidecars(path):
        with open(beside, "rb") as file:
            head = file.read(HEAD)
        if not head.startswith(TIFF) or is_vrt(head):
            return beside
    return None


def _sidecars(path: str, depth: int = 2) -> Iterator[str]:
    for suffix in BESIDE if depth else ():
        if os.path.isfile(path + suffix):
            yield path + suffix
            yield from _sidecars(path + suffix, depth - 1)
