"""How the process ends though a pipeline within it cannot be stopped; cheap to import."""

import os
import sys
import threading

PIPELINE_THREAD = "aerial-deblur-pipeline"
"""The name of the thread that a pipeline runs in."""


def leave(code: int) -> int:
    """Return an exit code, or end the process with it at once if a pipeline is still running.

    A thread cannot be ended from outside, and Python's own way out waits for some of Beam's threads
    and crashes in libraries that others are still using.
    """
    if any(thread.name == PIPELINE_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
