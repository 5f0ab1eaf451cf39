"""Vetting: what a VRT names, and what a scene may be called, before GDAL is asked to open it.

A VRT is a recipe: GDAL opens whatever it names, with any of its drivers, and can be told to run
code. So everything in it that can be a name is checked by where it leads, and what is not known to
be harmless is refused.
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from upath import UPath

from transforms.gdal import STORES
from transforms.map_tiles import is_map_tiles
from transforms.picture_heads import HEAD, is_picture, is_vrt, odd_sidecar
from transforms.storage import reaching
from transforms.vrt_names import Name, UntrustedError, read_names

__all__ = ["UntrustedError", "check_name", "check_sidecars", "check_vrt"]

LARGEST = 64 * 2**20
"""Bytes of a VRT."""
DEEPEST = 8
"""VRTs that name each other, the outermost counted."""

URLS = (*STORES, "https://", "http://")
_ESCAPES = re.compile(r"(^|/)\.{1,2}(/|$|\?)|%2[ef]|\\|^[^/]*@", re.I)


def check_name(path: str) -> None:
    """Raise UntrustedError unless a scene's path is the name of a file, or a URL of one.

    Refused are names that GDAL would take for a command: `/vsi...`, those with a driver's prefix,
    and XML or JSON in place of a file.

    >>> check_name("s3://bucket/a.tif"), check_name("/data/12:00.tif")
    (None, None)
    """
    if not path or re.search(r"[\0-\x1f]", path):
        raise UntrustedError(f"{path!r} is no name of a file: give one without control characters")
    if path.lstrip()[:1] in ("<", "{"):
        raise UntrustedError(f"{path[:40]!r} is XML or JSON, not the name of a file: name the file")
    if path.lower().startswith("/vsi"):
        raise UntrustedError(
            f"{path} is a name for GDAL: name the file itself, or its URL ({', '.join(URLS)})"
        )
    prefix = re.match(r"[a-z][\w+.-]+:", path, re.I)
    if prefix and not path.startswith(URLS) and not is_map_tiles(path):
        raise UntrustedError(
            f"{path} begins with {prefix[0]!r}, which GDAL can take for a driver: name the file "
            f"itself, by its absolute path if it is called so, or a URL ({', '.join(URLS)})"
        )


def check_vrt(path: str, *, roots: Sequence[str]) -> None:
    """Raise UntrustedError, with the remedy, unless a VRT names only what it may.

    `path` is a file or a URL. It may name pictures and VRTs in or below its own folder, or below
    one of `roots` (folders, or URLs that end where a name does), wherever links lead; VRTs that it
    names may do the same, and no more. Nothing in it may be code. A file that is not there passes:
    GDAL reports it when it is read.
    """
    where = path if path.startswith(URLS) else os.path.realpath(path)
    _Vetting([_folder(where), *(_root(root) for root in roots)]).vet(where, ())


def check_sidecars(path: str) -> None:
    """Raise UntrustedError if what lies beside a local picture could lead GDAL elsewhere.

    Overviews (`.ovr`) and masks (`.msk`) must be TIFF, as GDAL writes them.
    """
    odd = odd_sidecar(path)
    if odd is not None:
        raise UntrustedError(
            f"{odd}, which GDAL opens with {path}, is no TIFF: write it again, or remove it"
        )


def _folder(place: str) -> str:
    return place.rsplit("/", 1)[0]


def _root(root: str) -> str:
    return root.rstrip("/") if root.startswith(URLS) else os.path.realpath(root).rstrip("/")


class _Vetting:
    """One VRT and all that it leads to; places are real paths, or URLs."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple(f"{place}/" for place in allowed)
        self._heights: dict[str, int] = {}
        self._folders: dict[str, str] = {}

    def vet(self, vrt: str, trail: tuple[str, ...]) -> int:
        """Vet a VRT that those of the trail lead to; return how many it has below it, with it."""
        if vrt in trail:
            raise UntrustedError(f"{vrt} names itself, by way of {' and '.join(trail)}: break it")
        if vrt not in self._heights:
            deeper = 0
            if len(trail) < DEEPEST:
                names = read_names(vrt, _read_whole(vrt))
                places = {self._locate(name, vrt) for name in names}
                below = [self.vet(place, (*trail, vrt)) for place in _nested(places, vrt)]
                deeper = max(below, default=0)
            self._heights[vrt] = 1 + deeper
        if len(trail) + self._heights[vrt] > DEEPEST:
            raise UntrustedError(
                f"{(*trail, vrt)[0]} leads to VRTs within VRTs, more than {DEEPEST} deep: name the "
                "pictures themselves, such as with gdal_translate -of VRT"
            )
        return self._heights[vrt]

    def _locate(self, name: Name, vrt: str) -> str:
        """Return the place that a name leads to, if it is one of those that are allowed."""
        text = name.text
        if not text or text != text.strip() or re.search(r"[\0-\x1f\\]", text):
            raise UntrustedError(f"{vrt} names {text!r}: write names without spaces around them, "
                                 "control characters and backslashes")  # fmt: skip
        place = _store_url(text)
        if place is None and re.match(r"/vsi|[^/]*:|[<{]", text, re.I):
            raise UntrustedError(
                f"{vrt} names {text[:200]!r}, which is a command for GDAL: name files, and those "
                f"of stores as {', '.join(STORES.values())} or /vsicurl/https://"
            )
        if place is None:
            place = self._real(text, vrt) if text.startswith("/") else self._join(name, vrt)
        if _escapes(place):
            raise UntrustedError(f"{vrt} names {text!r}: write URLs without .. and login")
        if not place.startswith(self._allowed):
            raise UntrustedError(
                f"{vrt} names {text!r}, which is {place}: a VRT may name what lies in or below its "
                "own folder; add the other folder or URL to input.roots if you trust it"
            )
        return place

    def _join(self, name: Name, vrt: str) -> str:
        if not name.relative:
            raise UntrustedError(
                f"{vrt} names {name.text!r} relative to the folder that the run is started in: "
                'say relativeToVRT="1"'
            )
        whole = f"{_folder(vrt)}/{name.text}"
        return whole if vrt.startswith(URLS) else self._real(whole, vrt)

    def _real(self, path: str, vrt: str) -> str:
        """Return the real path; folders are looked up once, for there may be a million files."""
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        whole = os.path.join(self._folders[folder], name)
        return os.path.realpath(whole) if os.path.islink(whole) else whole


def _store_url(text: str) -> str | None:
    """Return the URL behind GDAL's name of a file on a store, else None."""
    for scheme, prefix in STORES.items():
        if text.startswith(prefix):
            return scheme + text.removeprefix(prefix)
    url = text.removeprefix("/vsicurl/")
    return url if url != text and url.startswith(("https://", "http://")) else None


def _escapes(place: str) -> bool:
    """Say whether a URL may lead out of the folder that it begins with, or holds a login."""
    scheme, _, rest = place.partition("://")
    path = rest.split("?")[0] if scheme in ("http", "https") else rest
    return place.startswith(URLS) and _ESCAPES.search(path) is not None


def _read_whole(place: str) -> bytes:
    try:
        file = UPath(place)
        with reaching(file), file.open("rb") as stream:
            content: bytes = stream.read(LARGEST + 1)
    except OSError as error:
        raise UntrustedError(f"{place} cannot be read, and so not vetted: {error}") from error
    if len(content) > LARGEST:
        raise UntrustedError(
            f"{place} has more than {LARGEST} bytes: split it, or list the pictures themselves"
        )
    return content


def _nested(places: set[str], vrt: str) -> Iterator[str]:
    """Yield those places that are VRTs themselves; what is neither VRT nor picture is refused.

    GDAL tells files by their beginning, whatever they are called, and so do we.
    """
    for place, head in _heads(places):
        if is_vrt(head):
            yield place
        elif not is_picture(head, place):
            raise UntrustedError(
                f"{vrt} names {place}, which is no GeoTIFF, JPEG 2000, JPEG, PNG, WebP, MBTiles or "
                "VRT: other formats can lead elsewhere; convert it with gdal_translate"
            )


def _heads(places: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the beginning of every file that is there; those of a store are fetched together."""
    stores: dict[Any, list[str]] = defaultdict(list)
    for place in sorted(places):
        if place.startswith(URLS):
            stores[_file_system(place)].append(place)
            continue
        try:
            if not stat.S_ISREG(os.stat(place).st_mode):
                raise UntrustedError(f"{place} is no regular file: name a picture")
            check_sidecars(place)
            with open(place, "rb") as stream:
                yield place, stream.read(HEAD)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UntrustedError(f"{place} cannot be read, and so not vetted: {error}") from error
    for system, urls in stores.items():
        keys = [UPath(url).path for url in urls]
        heads = system.cat_ranges(keys, 0, HEAD, on_error="return")
        for url, head in zip(urls, heads, strict=True):
            if isinstance(head, bytes):
                yield url, head
            elif not isinstance(head, FileNotFoundError):
                raise UntrustedError(f"{url} cannot be read, and so not vetted: {head}")


def _file_system(url: str) -> Any:  # noqa: ANN401 - fsspec's classes are untyped
    try:
        with reaching(UPath(url)):
            return UPath(url).fs
    except OSError as error:
        raise UntrustedError(f"{url} cannot be read, and so not vetted: {error}") from error
