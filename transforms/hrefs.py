"""Hrefs: what a list or a catalogue may name, and where that is."""

import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from unicodedata import category
from urllib.parse import quote, unquote, urljoin, urlsplit

STORES = ("s3", "gs", "az")
REMOTE = (*STORES, "https")
"""The schemes of URLs that anyone may name."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"([^@/\\\s]*@)?([\w.-]+|\[[0-9a-f:.]+\])(:\d+)?", re.ASCII | re.IGNORECASE)
_INNER = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "svc")
"""The last parts of names that only an inner network knows."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_QUOTED = "%/:?&=#+,;@!$'()*~[]"
"""What is left as it stands in the path of an http URL: all that URLs may hold."""


class SourceError(ValueError):
    """What is named is no scene, or must not be one; the message says what to do about it."""


def scheme_of(path: str) -> str:
    """Return the scheme of a URL in lower case, and an empty string for a local path.

    >>> scheme_of("S3://maps/a.tif"), scheme_of("day:1.tif")
    ('s3', '')
    """
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def resolve_href(href: str, *, base: str, roots: Sequence[str] = ()) -> str:
    """Return the absolute path or URL that an href in the document `base` (path or URL) means.

    Any document may name URLs s3, gs, az and https, one that came by http also URLs of the same
    host; machines of an inner network (see `is_inner`) only if it came from there, or `roots` say
    so. Relative to a URL it may name what lies below its folder, relative to a file the files in
    or below its folder (symbolic links followed); both also what lies below `roots` (folders or
    URLs). Nothing remote may name a local file. Raises SourceError for all else.

    >>> resolve_href("./a.tif", base="https://host/maps/item.json?key=1")
    'https://host/maps/a.tif'
    """
    if not href or any(category(character) in ("Cc", "Cs") for character in href):
        raise SourceError(f"the href {href!r} is empty or holds control characters")
    scheme = scheme_of(href)
    if scheme in ("", "file") and not scheme_of(base):
        return _below_folder(_file_of(href) if scheme else href, base, roots)
    if scheme:
        _check_url(href, scheme, base)
        url = f"{scheme}{href[len(scheme) :]}"
        if scheme in ("http", "https") and not url.startswith(_url_roots(roots)):
            check_host(url, base)
        return url
    return _below_url(href, base, roots)


def _check_url(href: str, scheme: str, base: str) -> None:
    if ".." in href.split("/"):
        raise SourceError(f"{href} holds `..`: write the URL that is meant")
    if scheme == "http":
        here = scheme_of(base) == "http" and urlsplit(href).netloc == urlsplit(base).netloc
        if not here:
            raise SourceError(f"{href} is not encrypted, and no URL of the host of {base}")
    elif scheme == "file":
        raise SourceError(f"{base} is remote and must not name a local file, got {href}")
    elif scheme not in REMOTE:
        raise SourceError(f"{href} must be a URL of {', '.join(REMOTE)}")


def check_host(url: str, base: str) -> None:
    """Raise SourceError if an http URL in the document `base` leads to a machine that it must not.

    That is one of an inner network, unless the document came from the same host and port.
    """
    there = urlsplit(url)
    if not _HOST.fullmatch(there.netloc):
        raise SourceError(
            f"{url} has no plain host: write its name in ASCII, as xn--... if need be"
        )
    same = scheme_of(base) in ("http", "https") and there.netloc == urlsplit(base).netloc
    if not same and is_inner(there.hostname or ""):
        raise SourceError(
            f"{url} is a machine of an inner network, and {base} must not name it: allow it with "
            "input.roots"
        )


def is_inner(host: str) -> bool:
    """Say whether a host is this machine, or one that only an inner network knows.

    Addresses are understood in all forms that curl takes; names are not looked up.

    >>> [is_inner(host) for host in ("0x7f.1", "[::ffff:a9fe:a9fe]", "build.local", "example.org")]
    [True, True, True, False]
    """
    plain = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(plain.split("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(plain))
        except OSError:
            return "." not in plain or plain.rpartition(".")[2] in _INNER
    return not all(part.is_global and not part.is_multicast for part in _addresses_in(address))


def _addresses_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return an address, or those of IPv4 that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    within = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        within.append(ipaddress.IPv4Address(int(address) % 2**32))
    return [part for part in within if part is not None] or [address]


def _url_roots(roots: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{root.rstrip('/')}/" for root in roots if scheme_of(root))


def _file_of(href: str) -> str:
    parts = urlsplit(href)
    if parts.netloc not in ("", "localhost"):
        raise SourceError(f"{href} names a file of another machine: mount it, or use https")
    return unquote(parts.path)


def _below_folder(href: str, base: str, roots: Sequence[str]) -> str:
    if href.startswith("/vsi"):
        raise SourceError(f"{href} is a name of GDAL's: only files and URLs can be named")
    folder = os.path.dirname(os.path.abspath(base))
    # Hrefs are URLs, in which a space is %20; many write the plain name all the same.
    spellings = [os.path.normpath(os.path.join(folder, name)) for name in (href, unquote(href))]
    path = next((path for path in spellings if os.path.exists(path)), spellings[0])
    allowed = [folder, *(root for root in roots if not scheme_of(root))]
    if not any(_is_below(path, root) for root in allowed):
        raise SourceError(
            f"{path} lies outside the folder of {base}: allow its folder with input.roots"
        )
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise SourceError(f"{path} is no regular file")
    return path


def _is_below(path: str, root: str) -> bool:
    top = os.path.realpath(root)
    return os.path.commonpath([os.path.realpath(path), top]) == top


def _below_url(href: str, base: str, roots: Sequence[str]) -> str:
    if href.startswith("/"):
        raise SourceError(f"{base} is remote and must not name a local path, got {href}")
    url = _join(base, href)
    allowed = (_join(base, "."), *_url_roots(roots))
    if not url.startswith(allowed):
        raise SourceError(
            f"{href} leaves the folder of {base}: allow {_join(url, '.')} with input.roots"
        )
    return url


def _join(base: str, href: str) -> str:
    """Return what a relative href means beside a URL; keys of stores are not quoted, URLs are."""
    scheme = scheme_of(base)
    if scheme not in STORES:
        return urljoin(base, f"./{quote(href, safe=_QUOTED)}")
    key = quote(base.split("://", 1)[1])
    return f"{scheme}://{unquote(urljoin(f'http://{key}', f'./{quote(href)}').split('://', 1)[1])}"
