"""OpenLineage: what a run read and wrote, as events in a file, one a line."""

from pathlib import Path
from typing import Literal

from configs.schema import RunConfig
from pipeline.manifest import Manifest

Event = Literal["START", "COMPLETE", "FAIL"]


def emit(config: RunConfig, run: Manifest, event: Event) -> None:
    """Append an event to the file `observe.lineage`, if there is to be one.

    `run` is the manifest as started for START, as finished for the others. Several processes may
    write into one file. Raises ValueError without the package that builds events, OSError if the
    file cannot be written.
    """
    if config.observe.lineage is None:
        return
    try:
        from pipeline.lineage_events import to_json
    except ImportError as error:
        hint = "pip install 'aerial-deblur[lineage]'"
        raise ValueError(f"observe.lineage needs a package: {hint} ({error})") from error
    _append(config.observe.lineage, to_json(run, config.output, event))


def _append(target: Path, line: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Unbuffered: a line is one write, and lines of others stay apart.
    with target.open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())
