"""Identities: which run it is, which runs can be compared, and what decides a window's result."""

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from configs.schema import InputConfig, RunConfig
from transforms.redaction import redact_all
from transforms.stamps import Stamp, stamp
from transforms.tables import SCHEMA_VERSION

DISTRIBUTION = "aerial-deblur"
NOT_IDENTITY: Mapping[str, bool | set[str]] = {
    **dict.fromkeys(("output", "engine", "observe", "gate", "max_rejected"), True),
    "deblur": {"backend", "gpu"},
    "detect": {"backend"},
}
"""Settings that change no row: where to, how fast, and when to complain.

A backend, or how a GPU is called, changes last bits, as another processor or another version of a
package does.
"""
INPUTS = {"scenes", "stac", "labels", "area", "ignore", "aoi", "roots"}
"""Settings of `input` that name what is read: another name of the same content is the same."""
DECIDES_ROWS = {"iou", "oriented", "distances", "border", "stability"}
"""Settings of `measure` that a window's result depends on; the others only sum results up."""


def run_identity(
    config: RunConfig,
    scenes: Sequence[Stamp],
    weights: Mapping[str, str],
    *,
    described: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return 12 hex digits: the same settings, inputs, labels, weights and code give the same rows.

    `weights` maps the name of each weight file to its SHA-256. `described` is what is known of each
    scene: a sidecar or an index can change that while the scene's own file stays the same.
    """
    known = {
        "schema_version": SCHEMA_VERSION,
        "config": config.model_dump(mode="json", exclude=dict(NOT_IDENTITY)),
        "inputs": sorted(scenes, key=canonical),
        "scenes": sorted(described, key=canonical),
        "labels": [stamp(path) for path in truth_files(config.input)],
        "weights": dict(weights),
        "code": code_version(),
    }
    return digest(known)


def settings_identity(config: RunConfig) -> str:
    """Return 12 hex digits: runs that share them can be compared over time.

    Inputs, weights and code are left out: what they change is what one wants to see.
    """
    settings = config.model_dump(mode="json", exclude=dict(NOT_IDENTITY))
    return digest({**settings, "input": _without_names(settings["input"])})


def work_identity(config: RunConfig, weights: Mapping[str, str]) -> str:
    """Return 12 hex digits: all that decides what becomes of a window of a given scene.

    Here backends count: what is put together of kept windows comes from one of them.
    """
    settings = config.model_dump(mode="json")
    measure = {name: settings["measure"][name] for name in sorted(DECIDES_ROWS)}
    return digest(
        {
            "schema_version": SCHEMA_VERSION,
            "input": _without_names(settings["input"]),
            **{section: settings[section] for section in ("read", "deblur", "arms", "detect")},
            "measure": measure,
            "labels": [stamp(path) for path in truth_files(config.input)],
            "weights": dict(weights),
            "code": code_version(),
        }
    )


@cache
def code_version() -> str:
    """Return the version of the package, with commit and changes in a checkout; or `unknown`.

    Git is asked once: a process goes on with the code that it started with.
    """
    root = Path(__file__).resolve().parents[1]
    commit = _git(root, "rev-parse", "--short=12", "HEAD") if (root / ".git").exists() else ""
    if not commit:
        return version_of(DISTRIBUTION)
    changes = _git(root, "diff", "HEAD", "--", "*.py")
    dirty = f".dirty{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else ""
    return f"{version_of(DISTRIBUTION)}+g{commit}{dirty}"


def truth_files(config: InputConfig) -> list[Path]:
    """Return the files of labels and areas, with those that belong to a shapefile."""
    found = (config.labels, config.area, config.ignore, config.aoi)
    named = [path for path in found if path is not None]
    return [path for each in named for path in _files_of(each)]


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, or `unknown`."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def canonical(content: object) -> str:
    """Return JSON that is the same for equal contents."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def digest(known: object) -> str:
    """Return 12 hex digits of the SHA-256 of a content, as canonical JSON.

    Keys in URLs do not count: one that is signed anew names the same file.
    """
    return hashlib.sha256(canonical(redact_all(known)).encode()).hexdigest()[:12]


def _without_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in INPUTS}


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob("*.txt"))
    if path.suffix.lower() != ".shp":
        return [path]
    return sorted(beside for beside in path.parent.glob(f"{path.stem}.*") if beside.is_file())


def _git(root: Path, *arguments: str) -> str:
    """Return what git says, or nothing where it is missing or refuses."""
    command = ["git", "-C", str(root), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()
