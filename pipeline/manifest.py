"""run.json: the identity of a run, what became of it, and what an output folder already holds."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from configs.schema import InputConfig, RunConfig
from transforms.arms import planned_arms
from transforms.parquet import Part
from transforms.stamps import Stamp, stamp
from transforms.storage import (
    check_reachable,
    is_empty,
    is_file,
    reaching,
    write_bytes_whole,
)
from transforms.tables import SCHEMA_VERSION
from transforms.workplace import FOLDER as WORK

NAME = "run.json"
DISTRIBUTION = "aerial-deblur"
LIBRARIES = ("apache-beam", "numpy", "pyarrow", "rasterio", "torch", "ultralytics")
NOT_IDENTITY = {"output", "engine", "observe", "gate", "max_rejected"}
"""Settings that change no row: where to, how fast, and when to complain."""
INPUTS = {"scenes", "stac", "labels", "area", "ignore", "aoi", "roots"}
"""Settings of `input` that name what is read: another name of the same content is the same."""
DECIDES_ROWS = {"iou", "oriented", "distances", "border", "stability"}
"""Settings of `measure` that a window's result depends on; the others only sum results up."""

Manifest = dict[str, Any]


class ExitCode(IntEnum):
    """What the command returns to a scheduler."""

    OK = 0
    BROKEN = 1
    BAD_CONFIG = 2
    TOO_MANY_REJECTS = 3
    GATE_FAILED = 4
    NOTHING_TO_DO = 99


class OutputError(ValueError):
    """The output folder holds something that a run must not replace unasked."""


@dataclass(frozen=True)
class Counts:
    """How the planned windows ended; a scene that could not be opened counts as one.

    `unmade_mosaics` are scenes of which a mosaic was wanted and could not be made.
    """

    planned: int
    measured: int
    empty: int
    rejected: int
    unmade_mosaics: int = 0


def run_identity(
    config: RunConfig,
    scenes: Sequence[Stamp],
    weights: Mapping[str, str],
    *,
    described: Sequence[Manifest] = (),
) -> str:
    """Return 12 hex digits: the same settings, inputs, labels, weights and code give the same rows.

    `weights` maps the name of each weight file to its SHA-256. `described` is what is known of each
    scene: a sidecar or an index can change that while the scene's own file stays the same.
    """
    known = {
        "schema_version": SCHEMA_VERSION,
        "config": config.model_dump(mode="json", exclude=NOT_IDENTITY),
        "inputs": sorted(scenes, key=_canonical),
        "scenes": sorted(described, key=_canonical),
        "labels": [stamp(path) for path in truth_files(config.input)],
        "weights": dict(weights),
        "code": code_version(),
    }
    return _digest(known)


def settings_identity(config: RunConfig) -> str:
    """Return 12 hex digits: runs that share them can be compared over time.

    Inputs, weights and code are left out: what they change is what one wants to see.
    """
    settings = config.model_dump(mode="json", exclude=NOT_IDENTITY)
    return _digest({**settings, "input": _without_names(settings["input"])})


def work_identity(config: RunConfig, weights: Mapping[str, str]) -> str:
    """Return 12 hex digits: all that decides what becomes of a window of a given scene."""
    settings = config.model_dump(mode="json")
    measure = {name: settings["measure"][name] for name in sorted(DECIDES_ROWS)}
    return _digest(
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


def _without_names(settings: Manifest) -> Manifest:
    return {name: value for name, value in settings.items() if name not in INPUTS}


def describe_run(
    config: RunConfig,
    scenes: Sequence[Stamp],
    weights: Mapping[str, str],
    *,
    described: Sequence[Manifest] = (),
) -> Manifest:
    """Return all that is known of a run before it starts; see `run_identity`."""
    settings = config.model_dump(mode="json")
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_identity(config, scenes, weights, described=described),
        "settings_id": settings_identity(config),
        "work_id": work_identity(config, weights),
        "code_version": code_version(),
        "versions": {"python": platform.python_version(), **{n: _version(n) for n in LIBRARIES}},
        "config": settings,
        "config_sha256": hashlib.sha256(_canonical(settings).encode()).hexdigest(),
        "inputs": [_describe_file(scene) for scene in scenes],
        "scenes": list(described),
        "labels": [_describe_file(labels) for labels in map(stamp, truth_files(config.input))],
        "weights": dict(weights),
        "arms": list(planned_arms(config)),
    }


def start(output: UPath, manifest: Manifest, *, attempt: str = "") -> None:
    """Write the manifest of a run that begins now.

    What the folder says of an earlier attempt's mosaics stays known, as `published`: they need not
    be made again. Raises StorageError if the output is on a store that does not let us.
    """
    _write(
        output,
        {
            **manifest,
            "state": "running",
            "attempt": attempt,
            "started": _now().isoformat(),
            "published": published_mosaics(output),
        },
    )


def published_mosaics(output: UPath) -> list[Manifest]:
    """Return what run.json says of the mosaics in a folder; nothing where it says nothing."""
    if not is_file(output / NAME):
        return []
    try:
        found = read(output)
    except OutputError:
        return []
    known: list[Manifest] = found.get("mosaics") or found.get("published") or []
    return known


def finish(
    output: UPath,
    *,
    exit_code: int,
    counts: Counts | None = None,
    seconds: Mapping[str, float] | None = None,
    pixels: int = 0,
    reads: Mapping[str, object] | None = None,
    parts: Sequence[Part] = (),
    mosaics: Sequence[Mapping[str, object]] = (),
    error: str | None = None,
) -> Manifest:
    """Complete the manifest of a started run and return it; `pixels` are those measured.

    `reads` is what was asked of servers, `mosaics` the files of deblurred scenes.
    The state is `done` only for exit code 0: anything else is done again by the next run.
    """
    begun = read(output)
    finished = _now()
    wall = (finished - datetime.fromisoformat(begun["started"])).total_seconds()
    manifest = {
        **begun,
        "state": "done" if exit_code == ExitCode.OK else "failed",
        "exit_code": int(exit_code),
        "error": error,
        "finished": finished.isoformat(),
        "counts": asdict(counts) if counts else None,
        "wall_seconds": round(wall, 3),
        "stage_seconds": {stage: round(time, 3) for stage, time in (seconds or {}).items()},
        "mpix": pixels / 1e6,
        "reads": dict(reads) if reads else None,
        "outputs": [asdict(part) for part in parts],
        "mosaics": [dict(mosaic) for mosaic in mosaics],
    }
    _write(output, manifest)
    return manifest


def read(output: UPath) -> Manifest:
    """Return the manifest of an output folder; raises OutputError if it cannot be understood."""
    path = output / NAME
    try:
        with reaching(path):
            content = path.read_bytes()
        manifest: Manifest = json.loads(content.decode())
        manifest["run_id"], manifest["state"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is not the manifest of a run: {error!r}") from error
    return manifest


def check_output(
    output: UPath, run_id: str, *, work_id: str = "", force: bool
) -> Literal["fresh", "resume", "done"]:
    """Say what a run may do with a folder: begin, do what is missing, or nothing at all.

    An unfinished run goes on, and so does one of the same work (`work_id`) on other scenes. Raises
    OutputError if the folder holds anything else and `force` is not given, StorageError if it is on
    a store that does not let us look.
    """
    check_reachable(output)
    if is_file(output):
        raise OutputError(f"the output must be a folder, but {output} is a file")
    if force or is_empty(output) or _holds_only_work(output):
        return "fresh"
    remedy = "give another folder with --output, or replace its tables with --force"
    if not is_file(output / NAME):
        raise OutputError(f"{output} is not empty and holds no run: {remedy}")
    found = read(output)
    if found["run_id"] != run_id and work_id and found.get("work_id") == work_id:
        return "resume"
    if found["run_id"] != run_id:
        raise OutputError(
            f"{output} holds run {found['run_id']} ({found['state']}, started "
            f"{found.get('started')}), but these inputs and settings are run {run_id}: {remedy}"
        )
    return "done" if _is_complete(output, found) else "resume"


def conservation(
    counts: Counts, missing: Sequence[str] = (), unplanned: Sequence[str] = ()
) -> None:
    """Raise RuntimeError unless every planned window ended as exactly one row or reject.

    `missing` are the keys that ended as neither, `unplanned` those that ended once too often.
    """
    settled = counts.measured + counts.empty + counts.rejected
    if settled == counts.planned and not missing and not unplanned:
        return
    examples = "".join(
        f"; {name}: {', '.join(keys[:3])}"
        for name, keys in (("missing", missing), ("unplanned or double", unplanned))
        if keys
    )
    raise RuntimeError(
        f"{counts.planned} windows were planned, but {settled} ended as a row: {counts.measured} "
        f"measured + {counts.empty} empty + {counts.rejected} rejected{examples}"
    )


def code_version() -> str:
    """Return the version of the package, with commit and changes in a checkout; or `unknown`."""
    root = Path(__file__).resolve().parents[1]
    commit = _git(root, "rev-parse", "--short=12", "HEAD") if (root / ".git").exists() else ""
    if not commit:
        return _version(DISTRIBUTION)
    changes = _git(root, "diff", "HEAD", "--", "*.py")
    dirty = f".dirty{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else ""
    return f"{_version(DISTRIBUTION)}+g{commit}{dirty}"


def _holds_only_work(output: UPath) -> bool:
    """Say whether a run was ended there before it could write its manifest."""
    with reaching(output):
        return all(path.name == WORK for path in output.iterdir())


def _is_complete(output: UPath, manifest: Manifest) -> bool:
    outputs = [*manifest.get("outputs", []), *manifest.get("mosaics", [])]
    return manifest["state"] == "done" and all(is_file(output / file["path"]) for file in outputs)


def truth_files(config: InputConfig) -> list[Path]:
    """Return the files of labels and areas, with those that belong to a shapefile."""
    found = (config.labels, config.area, config.ignore, config.aoi)
    named = [path for path in found if path is not None]
    return [path for each in named for path in _files_of(each)]


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob("*.txt"))
    if path.suffix.lower() != ".shp":
        return [path]
    return sorted(beside for beside in path.parent.glob(f"{path.stem}.*") if beside.is_file())


def _describe_file(known: Stamp) -> Manifest:
    path, size, version = known
    name = "mtime_ns" if isinstance(version, int) else "version"
    return {"path": path, "size": size, name: version}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    """Return what git says, or nothing where it is missing or refuses."""
    command = ["git", "-C", str(root), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()


def _write(output: UPath, manifest: Manifest) -> None:
    """Replace the manifest in one step, so that no reader ever sees half of one."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    write_bytes_whole(output / NAME, f"{text}\n".encode())


def _digest(known: object) -> str:
    return hashlib.sha256(_canonical(known).encode()).hexdigest()[:12]


def _canonical(content: object) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _now() -> datetime:
    return datetime.now(UTC)
