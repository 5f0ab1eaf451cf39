"""A real Flink cluster without Docker: job manager, task managers and worker pool, as processes.

`make engines` fetches the jars. Everything listens on 127.0.0.1, at free ports.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

ENGINES = Path(
    os.environ.get("AERIAL_DEBLUR_ENGINES", Path.home() / ".cache/aerial-deblur/engines")
)
FLINK = ENGINES / "flink-1.20.5" / "lib"
JOB_SERVER = ENGINES / "flink-job-server-1.20.5.jar"
PRISM = ENGINES / "prism-2.77.0"

OPENED = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.net", "java.nio", "java.util")
]
MEMORY = {
    "taskmanager.cpu.cores": 2.0,
    "taskmanager.memory.framework.heap.size": "64m",
    "taskmanager.memory.task.heap.size": "192m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.memory.jvm-metaspace.size": "192m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
"""What Flink's start scripts, which the package lacks, compute for a small task manager."""

LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = Out
appender.out.name = Out
appender.out.type = CONSOLE
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss} %-5p %c{1} - %m%n
"""


def missing(*paths: Path, commands: tuple[str, ...] = ()) -> str:
    """Return why a test of an engine cannot run here, or nothing."""
    absent = [str(path) for path in paths if not path.exists()]
    absent += [command for command in commands if shutil.which(command) is None]
    return f"not here: {', '.join(absent)} (make engines)" if absent else ""


FLINK_MISSING = missing(FLINK, JOB_SERVER, commands=("java",))
PRISM_MISSING = missing(PRISM)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_fact(fact: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something holds; fail after a time."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)


class Processes:
    """Started processes, each in a group of its own, with their output in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, command: list[str], **environment: str) -> None:
        """Start a command, whose output goes to NAME.log."""
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **environment},
            )

    def pid(self, name: str) -> int:
        """Return the id of a running process."""
        return self._running[name].pid

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process and all that it started, and wait for its end."""
        process = self._running.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, number)
        process.wait(30)

    def kill_all(self) -> None:
        """End what is left."""
        for name in list(self._running):
            self.kill(name)

    def logs(self, lines: int = 40) -> str:
        """Return the ends of all logs."""
        ends = []
        for path in sorted(self.folder.glob("*.log")):
            last = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            ends.append("\n".join([f"--- {path.name}", *last]))
        return "\n".join(ends)


class WorkerPool:
    """Our worker pool as a process."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    def start(self, **environment: str) -> None:
        """Start the pool and wait until it answers."""
        serve = f"import sys; from pipeline.worker_pool import serve; sys.exit(serve({self.port}))"
        self._processes.start("pool", [sys.executable, "-c", serve], **environment)
        await_fact(self.answers, "the worker pool answers")

    def answers(self) -> bool:
        """Say whether the pool listens."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def workers(self) -> list[psutil.Process]:
        """Return the pool's worker processes."""
        return psutil.Process(self._processes.pid("pool")).children()

    def kill_worker(self) -> int:
        """Kill the oldest worker as the kernel would for want of memory; return its id."""
        await_fact(lambda: bool(self.workers()), "a worker runs")
        worker = min(self.workers(), key=lambda process: process.create_time())
        worker.kill()
        return worker.pid

    def log(self) -> str:
        """Return what the pool said."""
        return (self._processes.folder / "pool.log").read_text(encoding="utf-8")


class FlinkCluster:
    """A standalone session cluster, started empty."""

    def __init__(self, folder: Path, *, slots: int = 2) -> None:
        self.processes = Processes(folder)
        self.rest = free_port()
        self.master = f"127.0.0.1:{self.rest}"
        self.endpoint: str | None = None
        self.pool = WorkerPool(self.processes)
        self._rpc = free_port()
        self._folder = folder
        self._started = 0
        self._write_settings(slots)

    def start(self, task_managers: int = 1) -> None:
        """Start all processes and wait until the cluster is complete."""
        self.start_job_manager()
        for _ in range(task_managers):
            self.start_task_manager(wait=False)
        self.pool.start()
        await_fact(lambda: self.task_managers() == task_managers, "all task managers are there")

    def start_job_manager(self) -> None:
        """Start the job manager."""
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self._java("jobmanager", "-Xmx256m", entry, "--executionMode", "cluster")

    def start_task_manager(self, *, wait: bool = True) -> str:
        """Start one more task manager; return its name."""
        known = self.task_managers() if wait else 0
        self._started += 1
        name = f"taskmanager-{self._started}"
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        self._java(name, "-Xmx320m", entry)
        if wait:
            await_fact(lambda: self.task_managers() > known, "the task manager is there")
        return name

    def kill_task_manager(self, name: str | None = None) -> None:
        """Kill a task manager, the newest by default."""
        self.processes.kill(name or f"taskmanager-{self._started}")

    def kill_job_manager(self) -> None:
        """Kill the job manager, which forgets its jobs."""
        self.processes.kill("jobmanager")

    def stop(self) -> None:
        """End everything."""
        self.processes.kill_all()

    def task_managers(self) -> int:
        """Return how many task managers the job manager knows; none while it does not answer."""
        try:
            return int(self.ask("/overview")["taskmanagers"])
        except OSError:
            return 0

    def states(self) -> dict[str, str]:
        """Return the state of each job by its name."""
        return {job["name"]: job["state"] for job in self.ask("/jobs/overview")["jobs"]}

    def ask(self, path: str) -> dict:
        """Return an answer of the REST interface."""
        with urllib.request.urlopen(f"http://{self.master}{path}", timeout=10) as answer:
            return json.load(answer)

    def _java(self, name: str, memory: str, entry: str, *arguments: str) -> None:
        logging = f"-Dlog4j.configurationFile=file:{self._folder}/log4j.properties"
        flags = [
            memory,
            "-XX:MaxMetaspaceSize=192m",
            "-XX:MaxDirectMemorySize=384m",
            "-XX:TieredStopAtLevel=1",
            *OPENED,
            logging,
        ]
        command = ["java", *flags, "-cp", f"{FLINK}/*", entry, "--configDir", str(self._folder)]
        self.processes.start(name, [*command, *arguments])

    def _write_settings(self, slots: int) -> None:
        settings = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": self._rpc,
            "jobmanager.bind-host": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": slots,
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest,
            "io.tmp.dirs": str(self._folder),
            # By default 512, of 32 KiB, for each of the many stages that a run with mosaics has.
            "taskmanager.network.sort-shuffle.min-buffers": 64,
            # A task manager that was killed is missed after seconds, not after a minute.
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 8000,
            **MEMORY,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        (self._folder / "log4j.properties").write_text(LOGGING, encoding="utf-8")


@contextmanager
def running_pool(folder: Path) -> Iterator[WorkerPool]:
    """Start our worker pool, and end it with its workers."""
    processes = Processes(folder)
    pool = WorkerPool(processes)
    try:
        pool.start()
        yield pool
    finally:
        processes.kill_all()


@contextmanager
def running_cluster(
    folder: Path, *, slots: int = 2, task_managers: int = 1
) -> Iterator[FlinkCluster]:
    """Yield a cluster that is complete; on failure its logs are printed."""
    cluster = FlinkCluster(folder, slots=slots)
    try:
        cluster.start(task_managers)
        yield cluster
    except BaseException:
        print(cluster.processes.logs())
        raise
    finally:
        cluster.stop()
