"""How modules are imported sooner; cheap to import itself."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Do not look for garbage while modules are imported, and never in what was made until then.

    Modules stay, so there is none. Python would look through all of their objects time and again
    while they become more, and once more when the process ends: a third of what it takes to import
    the main job. A block in which nothing is imported changes nothing.
    """
    enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        if enabled:
            gc.enable()
