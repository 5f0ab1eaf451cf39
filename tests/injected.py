"""Runs with faults: the environment in which processes fail as a test wants (`faults/`)."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FAULTS = Path(__file__).with_name("faults")


def inject(*faults: Mapping[str, Any]) -> dict[str, str]:
    """Return an environment whose Python processes have these faults; see `faults/`."""
    path = [str(FAULTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "AERIAL_FAULTS": json.dumps(faults),
    }
