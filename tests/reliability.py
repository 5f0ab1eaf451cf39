"""Runs as operators start them, from the shell; what ends them, and what they leave behind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml
from scenes import textured, write_picture

COMMAND = Path(sys.executable).with_name("aerial-deblur")
TOKEN = "AERIAL_DEBLUR_TEST_RUN"
WORKER = "apache_beam.runners.worker.sdk_worker_main"
DECODER = "transforms.decoder"
STEADY = {"GIT_DIR": os.devnull, "OMP_NUM_THREADS": "1"}
"""Runs of one job are of one version of the code, even while somebody commits."""
LIMIT = 240.0
"""Seconds after which a run is taken for one that hangs."""


@dataclass(frozen=True)
class Job:
    """A small job: 4 rendered scenes with labels and one that cannot be opened.

    Its 17 windows are the same with and without mosaics. Without them there is one scene more,
    which is cut off: 5 of its 16 windows are rejected.
    """

    config: Path
    windows: int

    def command(self, *options: str) -> list[str]:
        """Return what an operator types to run it into the folder `out`."""
        return [str(COMMAND), "run", str(self.config), *options]


def make_job(folder: Path, *, mosaics: bool, **sections: object) -> Job:
    """Write scenes, labels and configuration into a folder."""
    from pipeline.demo import ORIGIN, write_demo_scene

    scenes = folder / "scenes"
    labels: dict[str, list[object]] = {}
    for number in range(4):
        origin = (ORIGIN[0] + 1000 * number, ORIGIN[1])
        _, each = write_demo_scene(scenes, seed=number, size=512, origin=origin)
        content = json.loads(each.read_text())
        labels = content | {"features": labels.get("features", []) + content["features"]}
    (folder / "labels.geojson").write_text(json.dumps(labels))
    (scenes / "broken.tif").write_bytes(b"no picture")
    if not mosaics:
        cut = write_picture(scenes / "cut.tif", textured(1024, 1024, seed=9), compress=None)
        os.truncate(cut, cut.stat().st_size * 7 // 10)
    config = {
        "input": {
            "scenes": [f"{scenes}/*.tif"],
            "labels": f"{folder}/labels.geojson",
            "label_classes": dict.fromkeys(("car", "van", "truck", "bus"), "vehicle"),
        },
        "read": {"core": 256, "halo": 32},
        "deblur": {"weights": "deblur_dsc"},
        "arms": {"controls": [], "oracle": {"method": "none"}},
        "measure": {"stability": 0, "seams": None, "interval": {"replicates": 100}},
        "mosaic": {"write": mosaics},
        "engine": {"batch_size": 2},
        "max_rejected": 1.0,
        "output": "out",
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(config | sections))
    return Job(path, 17 if mosaics else 33)


class Run:
    """A started command, in a session of its own, with all processes that it starts."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str] = STEADY
    ) -> None:
        """Start a command in a folder, where its output goes to `log.txt`."""
        self.log = folder / "log.txt"
        self._token = uuid.uuid4().hex
        self._process = self.start(command, folder, {**environment, TOKEN: self._token})
        self.pid = self._process.pid

    def start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen:
        """Start the command in a session of its own."""
        with self.log.open("ab") as file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=folder,
                start_new_session=True,
                env={**os.environ, **environment},
            )

    @property
    def is_over(self) -> bool:
        """Say whether the command has ended, whatever is left of its processes."""
        return self._process.poll() is not None

    def wait(self, seconds: float = LIMIT) -> int:
        """Return the exit code; a run that hangs is killed, and TimeoutExpired raised."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send_all()
            raise

    def until(self, fact: Callable[[], bool], seconds: float = LIMIT) -> bool:
        """Wait for something to be so, and say whether it came before the end of the run."""
        end = time.monotonic() + seconds
        while not self.is_over:
            if fact():
                return True
            if time.monotonic() > end:
                self.send_all()
                raise TimeoutError(f"not within {seconds:g} s; see {self.log}")
            time.sleep(0.01)
        return False

    def processes(self) -> list[psutil.Process]:
        """Return what lives of the run, in whatever group, oldest first: the command and others."""
        ours = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if process.status() != psutil.STATUS_ZOMBIE and self._owns(process):
                    ours.append(process)
        return sorted(ours, key=lambda process: (process.pid != self.pid, process.create_time()))

    def _owns(self, process: psutil.Process) -> bool:
        return os.getsid(process.pid) == self.pid or process.environ().get(TOKEN) == self._token

    def helpers(self, module: str) -> list[psutil.Process]:
        """Return the processes whose command line names a module."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):
                # Beam starts its workers by a shell, whose command line names them too.
                if process.name() != "sh" and any(module in word for word in process.cmdline()):
                    found.append(process)
        return found

    def send(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the command alone."""
        self._process.send_signal(number)

    def send_all(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the command and all processes of its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def is_gone(self, seconds: float = 30.0) -> bool:
        """Say whether, after a moment, no process of the run is left."""
        end = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def said(self) -> str:
        """Return what the run and the others with its log printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def run_to_end(
    job: Job, folder: Path, *options: str, environment: Mapping[str, str] = STEADY
) -> int:
    """Run a job into `FOLDER/out` and return the exit code."""
    return Run(job.command(*options), folder, environment).wait()


def published(output: Path) -> dict[str, str]:
    """Return the SHA-256 of every table and mosaic, and of all that belongs to them, by name."""
    own = {"run.json", "_workers.log"}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file()
        and (name := path.relative_to(output).as_posix()) not in own
        and not name.startswith("_work/")
    }


def state(output: Path) -> Mapping[str, object]:
    """Return what run.json says, or nothing where there is none."""
    path = output / "run.json"
    return json.loads(path.read_text()) if path.exists() else {}


def units(output: Path) -> int:
    """Return how many finished windows are kept."""
    return sum(1 for _ in output.glob("_work/units/*/*.unit"))


def staged(output: Path) -> int:
    """Return how many files wait to be published."""
    return sum(path.is_file() for path in output.glob("_work/attempts/*/*/*"))


def defects(output: Path, job: Job) -> list[str]:
    """Return what is wrong with the output of a run that came to its end: nothing, if all is well.

    Lost or double rows, files that are not whole or not as run.json says, and what lies about.
    """
    found = state(output)
    wrong = [] if found.get("state") == "done" else [f"run.json says {found.get('state')}"]
    keys = Counter[str]()
    for table in ("tiles", "rejected"):
        for path in (output / table).glob("*.parquet"):
            keys.update(pq.read_table(path, columns=["key"])["key"].to_pylist())
    wrong += [f"{count} rows of {key}" for key, count in keys.items() if count > 1]
    if len(keys) != job.windows:
        wrong.append(f"{len(keys)} of {job.windows} windows")
    files = published(output)
    said = {each["path"]: each["sha256"] for each in [*found["outputs"], *found["mosaics"]]}
    wrong += [f"{name} is not as run.json says" for name in said if files.get(name) != said[name]]
    wrong += [f"{name} is left" for name in files if Path(name).name.startswith((".", "_"))]
    left = [*output.glob("_work/attempts/*"), *output.glob("_work/units/*/.*"), *_lease(output)]
    return wrong + [f"{path.relative_to(output)} is left" for path in left]


def _lease(output: Path) -> list[Path]:
    return [path for path in (output / "_work" / "lease.json",) if path.exists()]
