"""Where things are kept that can be made again."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return our folder below `$XDG_CACHE_HOME`, else below ~/.cache; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aerial-deblur"


def key_of(known: Mapping[str, Any]) -> str:
    """Return a name for what is made of these facts: 32 hex digits of their SHA-256."""
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def recall(path: Path) -> dict[str, Any]:
    """Return what `remember` wrote to a JSON file; nothing where no such thing is there."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(path: Path, known: Mapping[str, Any]) -> None:
    """Write a JSON file whole; where nothing can be written, that is found out again next time."""
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(known), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        _log.info("%s is not remembered in %s: %s", known, path, error)
