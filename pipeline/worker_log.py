"""Where worker processes write what they have to say."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def workers_log_to(path: Path) -> Iterator[TextIO]:
    """Send standard error to a file, for this process and those it starts; yield the terminal.

    Beam's worker processes inherit standard error and log dozens of lines about themselves there,
    which would tear the progress bar apart. What the user should see goes to the yielded stream.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(path, "ab") as log, os.fdopen(os.dup(kept), "w") as terminal:
        os.dup2(log.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
