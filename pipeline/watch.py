"""Run a pipeline on any engine, and notice when it does not come to an end."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import apache_beam as beam
import grpc
import psutil
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineResult, PipelineState

from configs.operations import EngineConfig
from pipeline.beam_flags import LOCAL_RUNNER
from pipeline.flink import FlinkRest
from pipeline.job_server import job_server
from pipeline.leaving import PIPELINE_THREAD

CANCEL_SECONDS = 20.0
"""How long an engine has to end what it is told to end."""
RETRY_SECONDS = 10.0
"""Between a job's failure and its next submission: a cluster needs a while to find itself again."""
LONGEST_CAUSE = 600

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 3.0
_CANCEL_AGAIN_SECONDS = 1.0
_TRACEBACK = "Traceback (most recent call last):"
_LOST_WORKER = "CANCELLED: client cancelled"
"""What Beam's Java side says when the connection to an SDK process ends in mid-bundle."""
_WORKER_THREAD = "run_worker"
_WORKER_MODULE = "apache_beam.runners.worker.sdk_worker_main"


class EngineError(RuntimeError):
    """A pipeline that failed, stopped getting on, or lost a worker."""


def run_watched(
    pipeline: beam.Pipeline,
    engine: EngineConfig,
    *,
    settled: Callable[[], int],
    tick: Callable[[], None],
    total: int | None = None,
    poll: float = 0.5,
) -> PipelineResult:
    """Run a pipeline to its end and return the result, whose metrics are known.

    `settled()` counts finished windows, of `total`; it may be slow and is asked every few seconds,
    or more rarely, and again where it raises OSError. `tick()` is called every `poll` seconds in
    the calling thread and may raise. A job that failed on a server is submitted again,
    `engine.retries` times. Raises EngineError if the pipeline fails, if a worker process of the
    local engine dies, and if no window was settled for `engine.start_seconds`, or
    `engine.stall_seconds` once there was one or once all are settled. Whatever is raised, the job
    is cancelled and its workers are ended first; a pipeline within this process can only be left
    alone, see `leaving.leave`.
    """
    job = _Job(pipeline, engine)
    progress = _Progress(engine, settled, total)
    with _deaths_of_workers() as deaths:
        job.start()
        try:
            while not job.ended(poll):
                tick()
                if deaths:
                    raise EngineError(f"a worker process died: {deaths[0]}")
                progress.check()
        except BaseException:
            job.cancel()
            raise
    return job.result()


@dataclass
class _Progress:
    """Watches the number of settled windows."""

    engine: EngineConfig
    settled: Callable[[], int]
    total: int | None
    count: int = field(init=False)
    since: float = field(init=False)
    begun: bool = False
    next_look: float = 0.0

    def __post_init__(self) -> None:
        self.count = self.settled()
        self.since = time.monotonic()

    def check(self) -> None:
        """Raise EngineError if nothing has been settled for too long."""
        now = time.monotonic()
        if now < self.next_look:
            return
        count = self._look()
        looked = time.monotonic()
        self.next_look = looked + max(min(_LOOK_SECONDS, self._limit / 10), 20 * (looked - now))
        if count > self.count:
            self.count, self.since, self.begun = count, looked, True
        elif looked - self.since > self._limit:
            raise EngineError(
                f"no window was finished for {self._limit:g} s (engine.{self._setting}); "
                f"{self.count} are finished: workers hang, are missing, or are slower than that"
            )

    def _look(self) -> int:
        try:
            return self.settled()
        except OSError as error:  # of a store that is away: workers may get on meanwhile
            _log.warning("what is finished cannot be counted now: %s", error)
            return self.count

    @property
    def _setting(self) -> str:
        complete = self.total is not None and self.count >= self.total
        return "stall_seconds" if self.begun or complete else "start_seconds"

    @property
    def _limit(self) -> float:
        limit: float = getattr(self.engine, self._setting)
        return limit


class _Job:
    """A pipeline that runs in a thread, because Beam's runners block, each in its own place."""

    def __init__(self, pipeline: beam.Pipeline, engine: EngineConfig) -> None:
        self._pipeline = pipeline
        self._options: PipelineOptions = pipeline.options
        self._runner: str = self._options.view_as(StandardOptions).runner
        self._retries = 0 if self._runner == LOCAL_RUNNER else engine.retries
        # A name of its own, by which a job on a cluster can be found and cancelled.
        google = self._options.view_as(GoogleCloudOptions)
        self._name = google.job_name = google.job_name or f"aerial-deblur-{time.time_ns():x}"
        self._cancelled = threading.Event()
        self._result: PipelineResult | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=PIPELINE_THREAD, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> PipelineResult:
        """Return the result of a job that has ended; raise EngineError if it failed."""
        if self._failure is not None:
            raise EngineError(first_cause(self._failure)) from self._failure
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """End the job and its worker processes as far as that is possible."""
        self._cancelled.set()
        cancelling = threading.Thread(target=self._cancel_to_the_end, name="cancel", daemon=True)
        cancelling.start()
        workers = _local_workers()
        for worker in workers:
            _kill_tree(worker)
        for thread in [t for t in threading.enumerate() if t.name == _WORKER_THREAD]:
            thread.join(CANCEL_SECONDS)
        in_process = self._runner == LOCAL_RUNNER and not workers
        self._thread.join(1.0 if in_process else CANCEL_SECONDS)
        if not in_process:
            cancelling.join(CANCEL_SECONDS)

    def _run(self) -> None:
        for remaining in reversed(range(self._retries + 1)):
            try:
                self._submit()
            except BaseException as error:
                self._failure = error
                self._cancel_at_engine()  # who lost sight of a job has not ended it
                if not remaining or self._cancelled.is_set():
                    return
                _log.error("%s; submitted again, %d more times", first_cause(error), remaining)
                if self._cancelled.wait(RETRY_SECONDS):
                    return
                self._cancel_at_engine()  # a cluster that was away may be back, with the job
            else:
                self._failure = None
                return

    def _submit(self) -> None:
        # Beam forgets the runner's name as soon as it runs.
        self._options.view_as(StandardOptions).runner = self._runner
        with job_server(self._options):
            result = self._result = self._pipeline.run()
            state = result.wait_until_finish()
            if state not in (None, PipelineState.DONE):
                raise EngineError(f"the job ended as {state}")
            # A portable job's numbers are gone with its server.
            result.metrics()

    def _cancel_to_the_end(self) -> None:
        """Cancel until the job has ended: one that is on its way to a cluster is not there yet."""
        until = time.monotonic() + CANCEL_SECONDS
        ended = False
        while not ended and time.monotonic() < until:
            ended = self.ended(_CANCEL_AGAIN_SECONDS)
            self._cancel_at_engine()

    def _cancel_at_engine(self) -> None:
        """Cancel where the job runs; what fails here is no worse than what is being raised."""
        if self._runner == "FlinkRunner":
            # Beam's job server forgets the job, and the cluster goes on with it.
            master = self._options.view_as(FlinkRunnerOptions).flink_master
            if not master.startswith("["):
                with suppress(OSError, ValueError):
                    FlinkRest(master).cancel(self._name)
        if self._result is not None and self._runner != LOCAL_RUNNER:
            with suppress(Exception):
                self._result.cancel()


def first_cause(error: BaseException) -> str:
    """Return the line that says why, out of a failed pipeline's pages of traceback.

    The last line of the last Python traceback within the message, else Java's innermost cause.
    """
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        told = f"{error.code().name}: {error.details()}"
        return f"the connection to the job server broke ({told})"[:LONGEST_CAUSE]
    text = re.sub(r"^Pipeline \S+ failed in state FAILED: ", "", str(error).strip())
    if _TRACEBACK in text:
        text = text.rpartition(_TRACEBACK)[2]
        final = re.search(r"^[A-Za-z_][\w.]*(?::.*)?$", text, re.MULTILINE)
        return (final[0] if final else text.strip())[:LONGEST_CAUSE]
    causes = re.findall(r"^Caused by: (.+)$", text, re.MULTILINE)
    cause = causes[-1] if causes else (text.splitlines() or [""])[0]
    if _LOST_WORKER in cause:
        cause = f"a Python worker was lost, see the log of its worker pool ({cause})"
    if not isinstance(error, RuntimeError):
        cause = f"{type(error).__name__}: {cause}"
    return cause[:LONGEST_CAUSE]


@contextmanager
def _deaths_of_workers() -> Iterator[list[str]]:
    """Yield a list to which the ends of local worker processes come that were no success.

    Beam's local runner waits for ever for a worker that was killed. It raises in the thread that
    waits for the process, where nobody but the interpreter's hook for threads sees it. What other
    threads raise, such as those that lost their connection to that worker, is logged.
    """
    deaths: list[str] = []
    before = threading.excepthook

    def note(happened: threading.ExceptHookArgs) -> None:
        if happened.thread is not None and happened.thread.name == _WORKER_THREAD:
            deaths.append(str(happened.exc_value))
        else:
            _log.error("in thread %s: %r", happened.thread, happened.exc_value)

    threading.excepthook = note
    try:
        yield deaths
    finally:
        threading.excepthook = before


def _local_workers() -> list[psutil.Process]:
    """Return the worker processes of the local engine that are our children."""
    workers = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if _WORKER_MODULE in child.cmdline():
                workers.append(child)
    return workers


def _kill_tree(process: psutil.Process) -> None:
    """Kill a process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        for descendant in process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                descendant.kill()
        process.kill()
