"""Listing: the files that a path or pattern stands for, on disk and in object stores."""

import glob
import os
from urllib.parse import urljoin

import requests  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter  # type: ignore[import-untyped]
from upath import UPath
from urllib3 import Retry

from transforms.hrefs import REMOTE, STORES, SourceError, check_host, scheme_of
from transforms.storage import StorageError, forget_listings, reaching

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes of an answer."""

RETRY = Retry(
    total=4,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET", "POST"),  # the search of a STAC API changes nothing
)


LARGEST = 2**30
"""Bytes of a list, an index or a document of a catalogue."""


class Session(requests.Session):
    """Asks web servers, again if need be; none leads it to an inner network that it is not of."""

    def __init__(self) -> None:
        """Set retries for both schemes."""
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=RETRY))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer leads, if it does; raises SourceError if it must not."""
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        check_host(urljoin(resp.url, target), base=resp.url)
        return str(target)


def list_paths(pattern: str, *, folder: str = "") -> list[str]:
    """Return the files and URLs that a pattern stands for, sorted, each once.

    Patterns are a local path or glob (relative to `folder`), a path or glob of a store (`s3://`,
    `gs://`, `az://`), or an `https://` URL. One without wildcards is returned though nothing is
    there, and so is one that is the name of a file as it stands; a glob matches files only.

    Raises SourceError for a glob that matches none, a URL that we cannot read, and a store that
    cannot be listed.
    """
    scheme = scheme_of(pattern)
    if "\0" in pattern:
        raise SourceError(f"{pattern!r} is no name of a file: it holds a zero character")
    if scheme in STORES:
        found = _list_store(pattern)
    elif scheme:
        found = [_checked_url(pattern)]
    elif pattern.startswith("/vsi"):
        raise SourceError(f"{pattern} is a name of GDAL's: write the URL, such as s3://bucket/key")
    else:
        found = _list_folder(pattern, folder)
    if not found:
        raise SourceError(f"no file matches {pattern!r}")
    return sorted(set(found))


def _checked_url(url: str) -> str:
    scheme = scheme_of(url)
    if scheme == "file":
        raise SourceError(f"{url}: write the path without file://")
    if scheme not in (*REMOTE, "http"):
        raise SourceError(f"{url} must be a local path or a URL of {', '.join(REMOTE)}")
    if "*" in url.split("?")[0]:
        raise SourceError(f"{url}: nothing can be listed over https: name each file, in a list")
    return url


def _list_folder(pattern: str, folder: str) -> list[str]:
    plain = os.path.join(folder, pattern)
    if not glob.has_magic(pattern) or os.path.exists(plain):
        return [os.path.normpath(plain)]
    found = glob.glob(pattern, root_dir=folder or None, recursive=True)
    paths = (os.path.normpath(os.path.join(folder, path)) for path in found)
    return [path for path in paths if os.path.isfile(path)]


def _list_store(url: str) -> list[str]:
    scheme, key = scheme_of(url), url.split("://", 1)[1]
    if not glob.has_magic(key):
        return [f"{scheme}://{key}"]
    if glob.has_magic(key.split("/")[0]):
        raise SourceError(f"{url}: the bucket cannot be a pattern")
    try:
        return [f"{scheme}://{found}" for found in _match_keys(scheme, key)]
    except StorageError as error:
        raise SourceError(str(error)) from error


def _match_keys(scheme: str, key: str) -> list[str]:
    name = key.split("/")[0]
    bucket = open_bucket(scheme, name)
    with reaching(bucket):
        forget_listings(bucket)
        if bucket.fs.isfile(key):
            return [key]
        found = bucket.fs.glob(key, detail=True)
        if not found:
            bucket.fs.info(name)  # a glob in a bucket that does not exist is just empty
        return [path for path, about in found.items() if about["type"] == "file"]


def open_bucket(scheme: str, bucket: str) -> UPath:
    """Return a bucket; credentials and endpoint are those of the environment.

    `AWS_NO_SIGN_REQUEST` opens public buckets without credentials, as it does in GDAL.
    """
    unsigned = os.environ.get("AWS_NO_SIGN_REQUEST", "NO").upper() in ("YES", "TRUE", "ON", "1")
    where = f"{scheme}://{bucket}/"
    return UPath(where, anon=True) if scheme == "s3" and unsigned else UPath(where)


def read_bytes(path: str) -> bytes:
    """Return what a file or URL holds; raises SourceError where it cannot be read."""
    scheme = scheme_of(path)
    try:
        if scheme in STORES:
            return _read_object(path)
        if scheme:
            return _read_url(_checked_url(path))
        return _read_file(path)
    except StorageError as error:
        raise SourceError(str(error)) from error
    except OSError as error:  # those of requests are OSErrors too
        raise SourceError(f"{path} cannot be read: {error}") from error


def _read_file(path: str) -> bytes:
    if os.path.exists(path) and not os.path.isfile(path):
        raise SourceError(f"{path} is no regular file")
    with open(path, "rb") as file:
        return _checked_size(path, file.read(LARGEST + 1))


def _read_object(url: str) -> bytes:
    key = url.split("://", 1)[1]
    name, _, rest = key.partition("/")
    bucket = open_bucket(scheme_of(url), name)
    with reaching(bucket / rest):
        if (bucket.fs.info(key).get("size") or 0) > LARGEST:
            raise StorageError(f"{url} has more than {LARGEST} bytes: split it")
        content: bytes = bucket.fs.cat_file(key)
        return content


def _read_url(url: str) -> bytes:
    with Session() as session, session.get(url, timeout=TIMEOUT, stream=True) as answer:
        answer.raise_for_status()
        content = bytearray()
        for chunk in answer.iter_content(2**20):
            content += chunk
            if len(content) > LARGEST:
                break
        return _checked_size(url, bytes(content))


def _checked_size(path: str, content: bytes) -> bytes:
    if len(content) > LARGEST:
        raise SourceError(f"{path} has more than {LARGEST} bytes: split it")
    return content
