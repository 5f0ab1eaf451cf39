"""Workplace: where a run keeps what it has finished, and what it has not published yet.

    OUT/_work/units/SCENE~ID/C_R.unit   a finished window, for runs that go on after a break
    OUT/_work/units/SCENE~ID/C_R.tif    the deblurred core of a window, until the mosaic is made
    OUT/_work/attempts/ATTEMPT/         tables and mosaics, until they are published
    OUT/_work/attempts/ATTEMPT/rejects/KEY.json    a window that this attempt rejected

The ID is a digest of everything that decides what becomes of a scene's windows: the file as it was
planned, settings, weights, labels and code. So nothing here can be taken for the result of another
job, and an earlier attempt that is still at work somewhere does no harm.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache

from upath import UPath

from transforms.functional.windows import Rectangle
from transforms.records import Scene, Window
from transforms.redaction import redact_all

FOLDER = "_work"
UNIT, REJECT, CORE = ".unit", ".json", ".tif"
LONGEST_NAME = 200
"""Bytes of a name; file systems allow 255 with what is put behind it."""
_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")


def safe_name(scene: str) -> str:
    """Return a scene's name as a file name and part of a URL: another for every other scene.

    Bytes other than ASCII letters, digits, `.`, `-` and `_` are written as `~` and two digits; the
    end of a long name as `~~` and its SHA-256.

    >>> safe_name("day 1/a.tif"), safe_name("..")
    ('day~201~2Fa.tif', '~2E.')
    """
    name = _UNSAFE.sub(lambda found: b"~%02X" % found[0][0], scene.encode()).decode()
    if name.startswith("."):
        name = f"~2E{name[1:]}"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(scene.encode()).hexdigest()
    return f"{name[: LONGEST_NAME - len(digest) - 2]}~~{digest}"


@dataclass(frozen=True)
class Workplace:
    """The folders of one attempt of a run.

    `output` is the folder of the run, `staged` where this attempt writes what it will publish.
    `settings` is the digest of all that decides a window's result beside its scene.
    """

    output: UPath
    staged: UPath
    settings: str

    @staticmethod
    def of(output: UPath, *, attempt: str, settings: str) -> "Workplace":
        """Return the workplace of an attempt, whose results are hidden until they are published."""
        return Workplace(output, output / FOLDER / "attempts" / attempt, settings)

    @staticmethod
    def open(output: UPath) -> "Workplace":
        """Return a workplace that writes its results where they are to be."""
        return Workplace(output, output, "")

    @property
    def attempts(self) -> UPath:
        """Return the folder of what no attempt has published."""
        return self.output / FOLDER / "attempts"

    @property
    def units(self) -> UPath:
        """Return the folder of what is finished, a folder for each scene."""
        return self.output / FOLDER / "units"

    def scene_id(self, scene: Scene) -> str:
        """Return the name of a scene's folder, which tells it from any other scene or job."""
        return _scene_id(scene, self.settings)

    def unit_folder(self, scene: Scene) -> UPath:
        """Return where the finished windows of a scene are kept."""
        return self.units / self.scene_id(scene)

    def unit_path(self, window: Window) -> UPath:
        """Return where a finished window is kept."""
        return self.unit_folder(window.scene) / f"{window_name(window)}{UNIT}"

    @property
    def rejects(self) -> UPath:
        """Return the folder of this attempt's rejected windows, which a later one tries again."""
        return self.staged / "rejects"

    def reject_path(self, key: str) -> UPath:
        """Return where it is noted that a window was rejected."""
        return self.rejects / f"{safe_name(key)}{REJECT}"

    def core_path(self, scene: Scene, core: Rectangle) -> UPath:
        """Return where the deblurred pixels of a core are kept."""
        return self.unit_folder(scene) / f"{_place(core)}{CORE}"


def window_name(window: Window) -> str:
    """Return the name of a window among those of its scene, as a file name."""
    blur = window.blur
    return _place(window.core) + (f"_{blur.length:g}_{blur.angle:g}" if blur else "")


def _place(core: Rectangle) -> str:
    return f"{core.col_off}_{core.row_off}"


@lru_cache(maxsize=64)
def _scene_id(scene: Scene, settings: str) -> str:
    # A URL that is signed anew is the same file.
    urls = {"path": redact_all(scene.path), "item": redact_all(scene.item)}
    known = json.dumps([asdict(scene) | urls, settings], sort_keys=True)
    return f"{safe_name(scene.name)}~{hashlib.sha256(known.encode()).hexdigest()[:16]}"
