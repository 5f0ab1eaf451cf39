"""Randomized kills: something of a run is killed at some moment, and the run is started again.

    PYTHONPATH=tests python benchmarks/kills.py --kills 40 --seed 1
    PYTHONPATH=tests python benchmarks/kills.py --kills 15 --seed 2 --engine flink

The second wants `make engines` before.
A trial draws a job (with mosaics or without), what its output folder holds before, an engine, and
one to three kills. After every kill the same command is started again; the last time it may come
to its end. Then all tables and mosaics must be those of an undisturbed run, byte for byte, each
window there once, and nothing else left. A kill draws what is killed and when:

    start       at any time before the first window is finished
    windows     when a number of windows is finished, and a moment later
    staged      when a number of files waits to be published, and a moment later
    publishing  before a number of files is published (the driver only)

A kill counts if the run was still alive. The seed is printed with every trial. Most of a run's time
goes into importing libraries: with `--warm` the command is forked from a process that has done so.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGTERM

from flink_cluster import JOB_SERVER, FlinkCluster, await_fact, running_cluster
from injected import inject
from reliability import (
    DECODER,
    STEADY,
    WORKER,
    Job,
    Run,
    defects,
    make_job,
    published,
    staged,
    state,
    units,
)
from warm_runs import WarmRun

LOCAL = {
    "in_memory": ("driver", "driver", "driver", "group", "SIGTERM", "SIGTERM", "decoder"),
    "multi_processing": ("driver", "group", "SIGTERM", "worker", "worker", "worker", "decoder"),
}
FLINK = {"flink": ("worker", "worker", "task manager", "task manager", "job manager", "driver")}
LIMIT = 900.0
"""Seconds after which a run hangs: longer than any limit of its own."""
PLACE = "night"
"""Where all runs work, since the tables name their folder."""
PROCESS_NAMES = {"worker": WORKER, "decoder": DECODER}
FORGIVEN = ("decoder",)
"""Victims that a run survives; those of a cluster it may survive."""


@dataclass(frozen=True)
class Kill:
    """What is killed, and when: `share` of the windows, files or seconds there are, and later."""

    victim: str
    moment: str
    share: float
    later: float


@dataclass
class Outcome:
    """A kill, the exit code of the run, and what it had finished and published then."""

    kill: Kill
    alive: bool
    exit_code: int
    finished: int
    state: object


@dataclass
class Trial:
    """A seed and what came of it."""

    seed: str
    engine: str
    mosaics: bool
    yesterday: bool
    kills: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """A job, and for each state of the folder before, what an undisturbed run publishes."""

    job: Job
    before: Mapping[bool, Path]
    published: Mapping[bool, Mapping[str, str]]
    start_seconds: float
    measured: int
    """Windows that come to a result; the others are rejects."""


@dataclass
class Local:
    """In this process, or in two worker processes."""

    warm: bool = False

    def run(self, command: Sequence[str], place: Path) -> Run:
        """Start a command."""
        return WarmRun(command, place) if self.warm else Run(command, place)

    def options(self, engine: str) -> list[str]:
        """Return what to add to the command."""
        return ["--set", f"engine.workers={1 + (engine == 'multi_processing')}"]

    def kill(self, run: Run, victim: str, rng: Random) -> bool:
        """Kill something of a run, and say whether there was something."""
        if victim == "driver":
            run.send()
        elif victim == "SIGTERM":
            run.send(SIGTERM)
        elif victim == "group":
            run.send_all()
        else:
            found = run.helpers(PROCESS_NAMES[victim])
            if not found:
                return False
            rng.choice(found).kill()
        return True

    def mend(self) -> None:
        """Make the engine ready again: nothing is needed."""


class Flink(Local):
    """A cluster of one job manager, one task manager and our worker pool."""

    def __init__(self, cluster: FlinkCluster, *, warm: bool) -> None:
        super().__init__(warm)
        self._cluster = cluster

    def options(self, engine: str) -> list[str]:
        """Return what to add to the command."""
        settings = {
            "workers": 2,
            "worker_pool": self._cluster.pool.address,
            "job_server_jar": JOB_SERVER,
            "retries": 1,
            "start_seconds": 300,
            "stall_seconds": 300,
        }
        flags = [f"--set=engine.{name}={value}" for name, value in settings.items()]
        return ["--engine", engine, "--flink-master", self._cluster.master, *flags]

    def kill(self, run: Run, victim: str, rng: Random) -> bool:
        """Kill something of a run or its cluster, and say whether there was something."""
        if victim == "worker":
            workers = self._cluster.pool.workers()
            if workers:
                rng.choice(workers).kill()
            return bool(workers)
        if victim == "task manager":
            self._cluster.kill_task_manager()
            time.sleep(rng.uniform(0, 3))
            self._cluster.start_task_manager(wait=False)
        elif victim == "job manager":
            self._cluster.kill_job_manager()
            time.sleep(rng.uniform(0, 3))
            self._cluster.start_job_manager()
        else:
            super().kill(run, victim, rng)
        return True

    def mend(self) -> None:
        """Wait until the cluster is complete and has nothing to do."""
        await_fact(lambda: self._cluster.task_managers() == 1, "the task manager is there", 120)
        await_fact(self._is_idle, "no job runs", 180)

    def _is_idle(self) -> bool:
        return all(
            each in ("FINISHED", "FAILED", "CANCELED") for each in self._cluster.states().values()
        )


def command_of(job: Job, place: Path, *options: str) -> list[str]:
    """Return the command that runs a job into a place that workers in other folders find."""
    return job.command("--output", str(place / "out"), *options)


def prepare(folder: Path, rig: Local, *, mosaics: bool) -> Prepared:
    """Make a job, the folder of yesterday with two of its scenes, and run it undisturbed."""
    folder.mkdir()
    job = make_job(folder, mosaics=mosaics)
    before = {each: folder / ("yesterday" if each else "empty") for each in (False, True)}
    place = folder.parent / PLACE
    before[False].mkdir()
    place.mkdir()
    scenes = [f"{folder}/scenes/demo_512_{number}.tif" for number in (0, 1)]
    assert rig.run(command_of(job, place, "--input", *scenes), place).wait() == 0
    place.rename(before[True])
    wanted, seconds, measured = {}, 0.0, 0
    for yesterday, path in before.items():
        shutil.copytree(path, place)
        known = units(place / "out")
        begun = time.monotonic()
        run = rig.run(command_of(job, place), place)
        run.until(lambda known=known: units(place / "out") > known)
        seconds = max(seconds, time.monotonic() - begun)
        assert run.wait() == 0
        assert not defects(place / "out", job)
        wanted[yesterday] = published(place / "out")
        measured = units(place / "out")
        place.rename(folder / f"undisturbed_{path.name}")
    return Prepared(job, before, wanted, seconds, measured)


def draw_kill(rng: Random, victims: tuple[str, ...]) -> Kill:
    """Draw what is killed and when."""
    moment = rng.choices(["start", "windows", "staged", "publishing"], [2, 6, 2, 1])[0]
    victim = "driver" if moment == "publishing" else rng.choice(victims)
    if victim in PROCESS_NAMES and moment != "windows":
        moment = "windows"  # there are such processes while windows are made
    return Kill(victim, moment, round(rng.random(), 3), round(rng.uniform(0, 0.5), 3))


def attempt(kill: Kill, trial: Trial, prepared: Prepared, place: Path, rig: Local) -> Outcome:
    """Start the command, kill, and wait for the end of what is left."""
    rng, output = Random(f"{trial.seed} {kill}"), place / "out"
    command = command_of(prepared.job, place, *rig.options(trial.engine))
    wanted = prepared.published[trial.yesterday]
    if kill.moment == "publishing":
        count = int(kill.share * sum(not name.endswith("collection.json") for name in wanted))
        fault = {"kind": "kill_worker", "where": "move", "after": count}
        run = Run(command, place, {**inject(fault), **STEADY})
    else:
        run = rig.run(command, place)
    known, waiting = units(output), 1 + int(kill.share * 6)
    goal = known + 1 + int(kill.share * (prepared.measured - known))
    alive = True
    if kill.moment == "start":
        _pass(run, kill.share * prepared.start_seconds)
    elif kill.moment == "windows":
        alive = run.until(lambda: units(output) >= goal)
    elif kill.moment == "staged":
        alive = run.until(lambda: staged(output) >= waiting)
    if kill.moment != "publishing":
        _pass(run, kill.later)
        alive = not run.is_over and rig.kill(run, kill.victim, rng)
    code = end_of(run, trial)
    if kill.victim in ("driver", "group"):
        alive = code != 0  # else it was on its way out already
    if not run.is_gone():
        trial.problems.append(f"processes are left after {kill}")
        run.send_all()
    rig.mend()
    return Outcome(kill, alive, code, units(output), state(output).get("state"))


def end_of(run: Run, trial: Trial) -> int:
    """Return a run's exit code; note one that hangs."""
    try:
        return run.wait(LIMIT)
    except subprocess.TimeoutExpired:
        trial.problems.append(f"a run hangs for {LIMIT:g} s")
        return -SIGKILL


def _pass(run: Run, seconds: float) -> None:
    """Let time pass, as long as the run lives."""
    end = time.monotonic() + seconds
    run.until(lambda: time.monotonic() >= end)


def check(
    outcome: Outcome, before: Mapping[str, str], place: Path, prepared: Prepared
) -> list[str]:
    """Return what is wrong after a kill: files published that must not be, or a wrong end."""
    windows = prepared.measured
    now, kill = published(place / "out"), outcome.kill
    wrong = []
    if outcome.exit_code != 0 and outcome.state not in ("running", "failed", "done", None):
        wrong.append(f"run.json says {outcome.state} after {kill}")
    if outcome.exit_code != 0 and outcome.finished < windows and now != before:
        wrong.append(f"something was published in spite of {kill}")
    if outcome.alive and kill.victim == "SIGTERM" and outcome.exit_code not in (143, -SIGTERM, 0):
        wrong.append(f"exit code {outcome.exit_code} after {kill}")
    if kill.victim in FORGIVEN and outcome.exit_code not in (0, 99):
        wrong.append(f"exit code {outcome.exit_code} after {kill}")
    return wrong


def run_trial(seed: str, prepared: Mapping[bool, Prepared], rig: Local, root: Path) -> Trial:
    """Draw a trial from its seed and carry it out."""
    rng = Random(seed)
    engines = FLINK if isinstance(rig, Flink) else LOCAL
    engine = rng.choice(sorted(engines))
    trial = Trial(seed, engine, rng.random() < 0.5, rng.random() < 0.4)
    ours = prepared[trial.mosaics]
    place = shutil.copytree(ours.before[trial.yesterday], root / PLACE)
    begun = time.monotonic()
    for _ in range(rng.choice([1, 2, 3])):
        kill = draw_kill(rng, engines[engine])
        before = published(place / "out")
        outcome = attempt(kill, trial, ours, place, rig)
        trial.kills.append(outcome)
        trial.problems += check(outcome, before, place, ours)
        if outcome.exit_code in (0, 99):
            break
    code = end_of(rig.run(command_of(ours.job, place, *rig.options(engine)), place), trial)
    if code not in (0, 99):
        trial.problems.append(f"exit code {code} in the end")
    now, wanted = published(place / "out"), ours.published[trial.yesterday]
    different = sorted(name for name in now | wanted if now.get(name) != wanted.get(name))
    trial.problems += [f"{name} differs" for name in different]
    trial.problems += defects(place / "out", ours.job)
    trial.seconds = round(time.monotonic() - begun, 1)
    if trial.problems:
        place.rename(root / f"trial-{seed}")
    else:
        shutil.rmtree(place)
    return trial


@contextmanager
def running_engine(name: str, folder: Path, *, warm: bool) -> Iterator[Local]:
    """Yield what starts runs and kills them."""
    if name == "local":
        yield Local(warm)
        return
    with running_cluster(folder, slots=2) as cluster:
        yield Flink(cluster, warm=warm)


def describe(trial: Trial) -> str:
    """Return a trial as a few lines."""
    held = ", yesterday's run" if trial.yesterday else ""
    head = f"seed {trial.seed}: {trial.engine}{', mosaics' if trial.mosaics else ''}{held}"
    lines = [f"{head}: {'; '.join(trial.problems) or 'as undisturbed'} ({trial.seconds:.0f} s)"]
    for each in trial.kills:
        kill, late = each.kill, "" if each.alive else ", too late"
        lines.append(
            f"    {kill.victim} at {kill.moment} {kill.share:.2f} + {kill.later:.2f} s{late}: exit "
            f"code {each.exit_code}, {each.finished} windows finished, run.json {each.state}"
        )
    return "\n".join(lines)


def main() -> int:
    """Carry out trials until there were enough kills; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", default="1", help="of the first trial is SEED-0")
    parser.add_argument("--engine", choices=("local", "flink"), default="local")
    parser.add_argument("--warm", action="store_true", help="fork runs: a third of the time")
    parser.add_argument("--json", type=Path, help="where the trials are written")
    parser.add_argument("--keep", type=Path, help="a new folder for all files")
    given = parser.parse_args()
    root = given.keep or Path(tempfile.mkdtemp(prefix="aerial-deblur-kills-"))
    root.mkdir(exist_ok=True)
    local = Local(given.warm)
    prepared = {
        each: prepare(root / f"job-{int(each)}", local, mosaics=each) for each in (True, False)
    }
    trials: list[Trial] = []
    counted = Counter[str]()
    with running_engine(given.engine, root / "cluster", warm=given.warm) as rig:
        while counted.total() < given.kills:
            trial = run_trial(f"{given.seed}-{len(trials)}", prepared, rig, root)
            trials.append(trial)
            counted.update(each.kill.victim for each in trial.kills if each.alive)
            print(describe(trial), flush=True)
            if given.json:
                given.json.write_text(json.dumps([asdict(each) for each in trials], indent=1))
    wrong = sum(bool(trial.problems) for trial in trials)
    print(
        f"{counted.total()} kills in {len(trials)} trials, {wrong} with problems: {dict(counted)}"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
