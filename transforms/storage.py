"""Storage: whole files and fresh listings, in a folder or on an object store."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from upath import UPath

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
"""The optional requirements of aerial-deblur that a protocol needs."""


class StorageError(OSError):
    """A place that cannot be listed or written; the message says what to do about it."""


def is_local(path: Path | UPath) -> bool:
    """Say whether a path is one of the file system; the others are objects of a store."""
    return isinstance(path, Path)


@contextmanager
def written_whole(target: Path | UPath, scratch: Path | UPath | None = None) -> Iterator[Path]:
    """Yield the name of a local file to write, which becomes the target when the block ends.

    The target appears whole or, if the block raises, not at all. In a file system the file is
    written in the folder `scratch`, which is made if absent (the target's own folder unless given),
    and renamed; for a store it is written in a temporary folder and uploaded.
    """
    if not isinstance(target, Path):
        with tempfile.TemporaryDirectory(prefix="aerial-deblur-") as folder:
            local = Path(folder, target.name)
            yield local
            put_file(local, target)
        return
    beside = Path(str(scratch)) if scratch is not None else target.parent
    beside.mkdir(parents=True, exist_ok=True)
    local = beside / f".{uuid.uuid4().hex}{target.suffix}"
    try:
        yield local
        os.replace(local, target)
    finally:
        local.unlink(missing_ok=True)


def write_bytes_whole(target: Path | UPath, content: bytes) -> None:
    """Write a file, which appears whole or not at all, in place of what had its name."""
    with written_whole(target) as local:
        local.write_bytes(content)


def put_file(local: Path, target: Path | UPath) -> None:
    """Put a finished local file where it belongs; it appears there whole.

    It is renamed where that is possible, else copied beside the target and renamed, else uploaded:
    then the local one stays. Folders are made in file systems only: a store has none, and a bucket
    that does not exist is an error.
    """
    if not isinstance(target, Path):
        with reaching(target):
            target.fs.put_file(str(local), target.path)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(local, target)
    except OSError:  # another file system
        copy = target.with_name(f".{uuid.uuid4().hex}{target.suffix}")
        try:
            shutil.copyfile(local, copy)
            os.replace(copy, target)
        finally:
            copy.unlink(missing_ok=True)
        local.unlink()


def move(source: UPath, target: UPath) -> None:
    """Give a file another name: at once in a file system, by a copy on a store.

    The target is replaced; it is whole at any time.
    """
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        return
    with reaching(target):
        target.fs.copy(source.path, target.path)
        target.fs.rm_file(source.path)


def remove_tree(folder: Path | UPath) -> None:
    """Remove a folder and all below it, if there is one; what others remove meanwhile is no error.

    In a file system what cannot be removed stays.
    """
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with reaching(folder):
        forget_listings(folder)
        with suppress(FileNotFoundError):
            folder.fs.rm(folder.path, recursive=True)


def find_files(folder: Path | UPath, pattern: str) -> list[UPath]:
    """Return the files below a folder that fit a glob, in order, as they are now.

    fsspec remembers listings, and would not see what other processes have written since.
    """
    with reaching(folder):
        forget_listings(folder)
        return sorted(UPath(path) for path in folder.glob(pattern))


def names_in(folder: Path | UPath) -> list[str]:
    """Return the names of the files of a folder, as they are now; of an absent one none.

    Many times faster than `find_files` in a file system.
    """
    if not isinstance(folder, Path):
        return [path.name for path in find_files(folder, "*")]
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def names_below(folder: Path | UPath, names: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return the names of the files of folders in a folder, as they are now.

    A store is asked once for all that it has there, a thousand files at a time, and not by folder.
    """
    if isinstance(folder, Path):
        return {name: names_in(folder / name) for name in names}
    found: dict[str, list[str]] = {name: [] for name in names}
    with reaching(folder):
        forget_listings(folder)
        for path in folder.fs.find(folder.path):
            above, _, file = path.rpartition("/")
            found.get(above.rpartition("/")[2], []).append(file)
    return found


def is_file(path: Path | UPath) -> bool:
    """Say whether there is a file of that name now."""
    with reaching(path):
        forget_listings(path)
        return path.is_file()


def size_of(path: Path | UPath) -> int | None:
    """Return the size of a file in bytes; None if there is none."""
    with reaching(path):
        forget_listings(path)
        return path.stat().st_size if path.is_file() else None


def is_empty(folder: Path | UPath) -> bool:
    """Say whether a folder is absent or holds nothing now."""
    with reaching(folder):
        forget_listings(folder)
        return not folder.exists() or not any(folder.iterdir())


def forget_listings(path: Path | UPath) -> None:
    """Make the next look at a store a fresh one."""
    if not isinstance(path, Path):
        path.fs.invalidate_cache()


def check_reachable(folder: UPath) -> None:
    """Raise StorageError unless we may look at the place; a folder may be absent, a bucket not."""
    if is_local(folder):
        return
    with reaching(folder):
        folder.fs.invalidate_cache()
        if not folder.fs.exists(folder.path):
            with suppress(PermissionError):  # who may only look below a prefix
                folder.fs.info(folder.path.split("/")[0])


@contextmanager
def reaching(path: Path | UPath) -> Iterator[None]:
    """Turn what goes wrong while the block talks to a store into StorageError, with the remedy."""
    if isinstance(path, Path):
        yield
        return
    try:
        yield
    except StorageError:
        raise
    except ImportError as error:
        extra = EXTRAS.get(path.protocol)
        name = f"'aerial-deblur[{extra}]'" if extra else f"what fsspec needs for {path.protocol}"
        raise StorageError(f"{path} needs a package: pip install {name} ({error})") from error
    except Exception as error:  # the clients of stores share no class of errors
        raise StorageError(
            f"{path} cannot be reached: {type(error).__name__}: {error}. Check the name of the "
            "bucket, the credentials in the environment (docs/inputs.md) and their rights to list, "
            "read and write"
        ) from error
