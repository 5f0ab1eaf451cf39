"""A file that several processes change: nobody's change is lost, and readers see whole files."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from upath import UPath

from transforms.storage import StorageError, forget_listings, is_file, reaching, write_bytes_whole

LOCK_SECONDS = 60
"""For how long to wait for others who change the file; they need a fraction of a second each."""
ATTEMPTS = 20
"""How often a change is begun anew because another came first, on a store."""
CONDITIONAL = ("s3", "s3a")
"""Protocols of stores that replace an object only if it still is what was read."""

Change = Callable[[bytes | None], bytes]
"""From what a file holds, None if it is absent, to what it shall hold. It may be called again."""


def change_file(target: UPath, change: Change) -> None:
    """Replace a file by what `change` makes of it.

    In a file system a lock beside it (`.NAME.lock`) keeps others out; it ends with the process that
    holds it, however that ends. On S3 the object is replaced only if it is what was read, else
    it is read again. Other stores have no such condition here: there the last one to write wins.

    Raises TimeoutError if others hold the lock too long, StorageError if the store cannot be
    reached, or others come first again and again.
    """
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=LOCK_SECONDS):
            write_bytes_whole(target, change(read_file(target)))
    elif target.protocol in CONDITIONAL:
        _change_object(target, change)
    else:
        write_bytes_whole(target, change(read_file(target)))


def read_file(target: UPath) -> bytes | None:
    """Return what a file holds, also while others replace it; None if it is absent."""
    with reaching(target):
        if not is_file(target):
            return None
        if isinstance(target, Path):
            return target.read_bytes()
        # In one request: an object that is opened, and replaced before it is read, is an error.
        content: bytes = target.fs.cat_file(target.path)
        return content


def _change_object(target: UPath, change: Change) -> None:
    for attempt in range(ATTEMPTS):
        seen = _etag(target)
        content = change(None if seen is None else read_file(target))
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}
        try:
            target.fs.pipe_file(target.path, content, **condition)
        except OSError:
            # A store says in many ways that the condition does not hold; the object says it in one.
            if _etag(target) == seen:
                with reaching(target):
                    raise
            time.sleep(random.uniform(0, 0.1 * 2 ** min(attempt, 5)))
        else:
            return
    raise StorageError(f"{target} was changed by others {ATTEMPTS} times in a row: try again")


def _etag(target: UPath) -> str | None:
    with reaching(target):
        forget_listings(target)
        if not target.fs.exists(target.path):
            return None
        return str(target.fs.info(target.path)["ETag"])
