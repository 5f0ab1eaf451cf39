"""run.json: what a run is, what became of it, and what an output folder already holds."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Literal

from upath import UPath

from configs.schema import RunConfig
from pipeline import identity
from transforms.arms import planned_arms
from transforms.parquet import Part
from transforms.redaction import redact_all
from transforms.stamps import Stamp, stamp
from transforms.storage import (
    check_reachable,
    is_empty,
    is_file,
    reaching,
    size_of,
    written_whole,
)
from transforms.tables import SCHEMA_VERSION
from transforms.workplace import FOLDER as WORK

NAME = "run.json"
LIBRARIES = ("apache-beam", "numpy", "pyarrow", "rasterio", "torch", "ultralytics")
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
        "run_id": identity.run_identity(config, scenes, weights, described=described),
        "settings_id": identity.settings_identity(config),
        "work_id": identity.work_identity(config, weights),
        "code_version": identity.code_version(),
        "versions": {
            "python": platform.python_version(),
            **{n: identity.version_of(n) for n in LIBRARIES},
        },
        "config": settings,
        "config_sha256": hashlib.sha256(identity.canonical(settings).encode()).hexdigest(),
        "inputs": [_describe_file(scene) for scene in scenes],
        "scenes": list(described),
        "labels": [
            _describe_file(labels) for labels in map(stamp, identity.truth_files(config.input))
        ],
        "weights": dict(weights),
        "arms": list(planned_arms(config)),
    }


def start(output: UPath, manifest: Manifest, *, attempt: str = "") -> Manifest:
    """Write the manifest of a run that begins now, and return it.

    What the folder says of an earlier attempt's mosaics stays known, as `published`: they need not
    be made again. Raises StorageError if the output is on a store that does not let us.
    """
    begun = {
        **manifest,
        "state": "running",
        "attempt": attempt,
        "started": _now().isoformat(),
        "published": published_mosaics(output),
    }
    _write(output, begun)
    return begun


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
    metrics: Mapping[str, object] | None = None,
    parts: Sequence[Part] = (),
    mosaics: Sequence[Mapping[str, object]] = (),
    error: str | None = None,
) -> Manifest:
    """Complete the manifest of a started run and return it; `pixels` are those measured.

    `reads` is what was asked of servers, `metrics` what the workers counted, `mosaics` the files of
    deblurred scenes.
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
        "metrics": dict(metrics) if metrics else None,
        "outputs": [asdict(part) for part in parts],
        "mosaics": [dict(mosaic) for mosaic in mosaics],
    }
    _write(output, manifest)
    return manifest


def elapsed(output: UPath) -> float:
    """Return the seconds since the run in a folder was started."""
    return (_now() - datetime.fromisoformat(read(output)["started"])).total_seconds()


def read(output: UPath) -> Manifest:
    """Return the manifest of an output folder; raises OutputError if it cannot be understood."""
    path = output / NAME
    try:
        with reaching(path):
            content = path.read_bytes()
        manifest: Manifest = json.loads(content.decode())
        manifest["run_id"], manifest["state"]
        for file in _written(manifest):
            output / file["path"], file.get("size")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
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


def _holds_only_work(output: UPath) -> bool:
    """Say whether a run was ended there before it could write its manifest."""
    with reaching(output):
        return all(path.name == WORK for path in output.iterdir())


def _is_complete(output: UPath, manifest: Manifest) -> bool:
    return manifest["state"] == "done" and all(
        size_of(output / file["path"]) == file.get("size") for file in _written(manifest)
    )


def _written(manifest: Manifest) -> list[Manifest]:
    """Return what a manifest says of the files that were written."""
    return [*(manifest.get("outputs") or ()), *(manifest.get("mosaics") or ())]


def _describe_file(known: Stamp) -> Manifest:
    path, size, version = known
    name = "mtime_ns" if isinstance(version, int) else "version"
    return {"path": path, "size": size, name: version}


def _write(output: UPath, manifest: Manifest) -> None:
    """Replace the manifest in one step, so that no reader ever sees half of one.

    The disk holds it before it gets its name: without one a loss of power would cost all that is
    kept, for no run would know what the folder holds. Half of one, which a killed process leaves,
    lies with the work: the folder is not taken for a strange one. Keys in URLs are left out.
    """
    text = json.dumps(redact_all(manifest), indent=2, ensure_ascii=False)
    with written_whole(output / NAME, output / WORK) as local, local.open("wb") as file:
        file.write(f"{text}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def _now() -> datetime:
    return datetime.now(UTC)
