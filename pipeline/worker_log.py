"""Where worker processes write what they have to say."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from upath import UPath

from transforms.storage import is_local, put_file


@contextmanager
def workers_log_to(path: UPath) -> Iterator[TextIO]:
    """Send standard error to a file, for this process and those it starts; yield the terminal.

    Beam's worker processes inherit standard error and log dozens of lines about themselves there,
    which would tear the progress bar apart. What the user should see goes to the yielded stream.
    A local file is appended to; an object of a store appears when the block ends.
    """
    with _local_log(path) as local:
        sys.stderr.flush()
        kept = os.dup(2)
        with open(local, "ab") as log, os.fdopen(os.dup(kept), "w") as terminal:
            os.dup2(log.fileno(), 2)
            try:
                yield terminal
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                os.close(kept)


@contextmanager
def _local_log(path: UPath) -> Iterator[Path]:
    if is_local(path):
        yield Path(str(path))
        return
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-log-") as folder:
        local = Path(folder, path.name)
        try:
            yield local
        finally:
            put_file(local, path)
