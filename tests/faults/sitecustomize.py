"""Faults on demand, in any process of a run: nothing in the product knows of them.

Python imports this file as it starts if its folder is on PYTHONPATH. `AERIAL_FAULTS` is a JSON list
of faults; `injected.inject` makes such an environment:

    {"kind": "segfault", "where": "read", "match": "b.tif:512,0", "times": 1, "marker": "/tmp/it"}

`where` is a function of the product, before which the fault happens, and `match` a regular
expression that is searched in a name of what the function is called for:

    read      a rectangle of a file is decoded: `scene:column,row`, in the decoder
    open      a header is opened: the scene, in the decoder
    assemble  a mosaic is made: the scene
    copy      the file of a mosaic is written, and temporary ones are there: the scene
    tile      a window is read into a tile: the window's key, in the worker
    network   the deblurrer runs: the keys of the windows whose pictures it is given
    write     a file is written whole: its name, without the folder
    move      a staged file is published: its name, without the folder

`kind` is what happens:

    segfault     the process gets SIGSEGV
    hang         it stops, and holds Python's lock, as GDAL does
    slow         it waits for `seconds`
    nan          what the network gives is NaN (`where`: network)
    kill_worker  it gets SIGKILL
    disk_full    half of the file is written, then ENOSPC (`where`: write); else ENOSPC

The first `after` calls that match pass; then `times` calls do not (without it: all). Calls are
counted in each process by itself; with a `marker`, a file, those that do not pass are counted for
all processes together.
"""

import ctypes
import errno
import functools
import json
import os
import re
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

VARIABLE = "AERIAL_FAULTS"


@dataclass
class Fault:
    """What happens, where and how often."""

    kind: str
    where: str
    match: str = ""
    after: int = 0
    times: int | None = None
    seconds: float = 0.0
    marker: str | None = None
    seen: int = field(default=0, init=False)

    def strikes(self, name):
        """Say whether a call for that name is one that must fail, and count it."""
        if not re.search(self.match, name):
            return False
        self.seen += 1
        if self.seen <= self.after:
            return False
        if self.times is None:
            return True
        if self.marker is None:
            return self.seen <= self.after + self.times
        return any(_create(f"{self.marker}.{number}") for number in range(self.times))

    def happen(self):
        """Do what the kind says; of some kinds nothing is done before a call."""
        if self.kind == "segfault":
            signal.raise_signal(signal.SIGSEGV)
        elif self.kind == "kill_worker":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "hang":
            while True:
                ctypes.PyDLL(None).pause()
        elif self.kind == "slow":
            time.sleep(self.seconds)
        elif self.kind == "disk_full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _create(path):
    """Say whether nobody was faster to make a file."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Faults:
    """The faults of one function, and how it is called."""

    def __init__(self, faults, name_of):
        self.faults, self.name_of = faults, name_of

    def around(self, function):
        """Return a function before which the faults happen."""

        @functools.wraps(function)
        def faulty(*arguments, **named):
            for fault in self.striking(*arguments):
                fault.happen()
            return function(*arguments, **named)

        return faulty

    def striking(self, *arguments):
        """Return the faults that a call is struck by."""
        name = self.name_of(*arguments)
        return [fault for fault in self.faults if fault.strikes(name)]


class Writes(Faults):
    """Files that are written whole: half of one may be there when the disk is full."""

    def around(self, function):
        """Return the context manager with its faults."""

        @contextmanager
        def faulty(target, *arguments, **named):
            striking = self.striking(target)
            with function(target, *arguments, **named) as local:
                yield local
                for fault in striking:
                    os.truncate(local, os.path.getsize(local) // 2)
                    fault.happen()

        return faulty


class Networks(Faults):
    """Networks whose output may be NaN; tiles are known by their pixels."""

    keys = {}  # noqa: RUF012 - of pictures that this process has read

    def around(self, function):
        """Return `Deblurrer._restore` with its faults."""

        @functools.wraps(function)
        def faulty(deblurrer, images):
            for fault in self.striking(*images):
                fault.happen()
                if fault.kind == "nan":
                    deblurrer = replace(deblurrer, runtime=_poisoned)
            return function(deblurrer, images)

        return faulty


class Tiles(Faults):
    """Tiles that are read; their pictures are remembered for the faults of networks."""

    def around(self, function):
        """Return `read_tile` with its faults."""
        faulty = super().around(function)

        @functools.wraps(function)
        def remembering(window, *arguments, **named):
            tile = faulty(window, *arguments, **named)
            if hasattr(tile, "before"):
                Networks.keys[_digest(tile.before)] = window.key
            return tile

        return remembering


def _poisoned(images):
    raise ArithmeticError("NaN or infinite")


def _digest(image):
    return hash(image.tobytes())


PLACES = {
    "read": (
        "transforms.scene_reader",
        "SceneReader.read_native",
        lambda reader, scene, place: f"{scene.name}:{place.col_off},{place.row_off}",
        Faults,
    ),
    "open": ("transforms.headers", "open_scene", lambda source, config: source.name, Faults),
    "assemble": (
        "transforms.scene_mosaic",
        "assemble_mosaic",
        lambda scene, *rest: scene.name,
        Faults,
    ),
    "copy": (
        "transforms.scene_mosaic",
        "_Assembly._publish",
        lambda assembly, *rest: assembly.scene.name,
        Faults,
    ),
    "tile": ("transforms.read", "read_tile", lambda window, *rest: window.key, Tiles),
    "network": (
        "models.deblurrer",
        "Deblurrer._restore",
        lambda *images: " ".join(Networks.keys.get(_digest(image), "") for image in images),
        Networks,
    ),
    "write": ("transforms.storage", "written_whole", lambda target: target.name, Writes),
    "move": ("transforms.storage", "move", lambda source, target: target.name, Faults),
}


class Injector:
    """Changes modules as they are imported."""

    def __init__(self, faults):
        wanted = {fault.where for fault in faults}
        if "network" in wanted:
            wanted.add("tile")
        self._changes = {}
        for where in wanted:
            module, path, name_of, kind = PLACES[where]
            ours = [fault for fault in faults if fault.where == where]
            self._changes.setdefault(module, []).append((path, kind(ours, name_of)))

    def find_spec(self, name, path=None, target=None):
        """Let the others find a module of ours, and have it changed once it was executed."""
        if name not in self._changes:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (each.find_spec(name, path, target) for each in others)))
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for path, faults in self._changes[name]:
                *outer, last = path.split(".")
                holder = functools.reduce(getattr, outer, module)
                setattr(holder, last, faults.around(getattr(holder, last)))

        spec.loader.exec_module = exec_module
        return spec


if os.environ.get(VARIABLE):
    sys.meta_path.insert(0, Injector([Fault(**each) for each in json.loads(os.environ[VARIABLE])]))
