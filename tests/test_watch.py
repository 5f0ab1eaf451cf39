"""Pipelines that end, fail, lose a worker or hang: what the caller sees, and what stays."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest
from apache_beam.metrics import MetricsFilter
from counted import counted_pipeline, processes_of, settled_in, sums_in, sums_of

from configs.operations import EngineConfig
from pipeline import watch
from pipeline.beam_flags import beam_options
from pipeline.leaving import PIPELINE_THREAD
from pipeline.watch import EngineError, first_cause, run_watched

COUNT = 12


def nothing() -> None:
    """Tick without effect."""


def run_counted(folder, *, workers=1, tick=nothing, count=COUNT, faults=None, **settings):
    engine = EngineConfig(workers=workers, **settings)
    pipeline = counted_pipeline(beam_options(engine, ()), folder, count, **(faults or {}))
    return run_watched(pipeline, engine, settled=settled_in(folder), tick=tick, poll=0.1)


def workers_left():
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "sdk_worker" in " ".join(process.cmdline())
    ]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_pipeline_ends_with_its_results_and_numbers(tmp_path, workers):
    result = run_counted(tmp_path, workers=workers)
    assert sums_in(tmp_path) == sums_of(COUNT)
    assert len(processes_of(tmp_path)) == workers
    assert result.metrics().query(MetricsFilter())["counters"] == []
    assert not workers_left()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_failure_is_told_in_one_line(tmp_path, workers):
    with pytest.raises(EngineError) as failure:
        run_counted(tmp_path, workers=workers, faults={"fails_at": 5})
    assert str(failure.value) == "ValueError: number 5 is not liked [while running 'Settle']"
    assert not workers_left()


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_run(tmp_path):
    with pytest.raises(EngineError, match=r"a worker process died: .* return code 137"):
        run_counted(tmp_path, workers=2, faults={"dies_at": 5})
    assert not workers_left()


@pytest.mark.slow
def test_a_run_that_hangs_is_stopped_with_its_workers(tmp_path):
    limits = {"start_seconds": 60, "stall_seconds": 2}
    with pytest.raises(EngineError, match=r"no window was finished for 2 s \(engine.stall_sec"):
        run_counted(tmp_path, workers=2, faults={"hangs_at": 5, "seconds": 0.01}, **limits)
    assert not workers_left()


@pytest.mark.slow
def test_what_a_tick_raises_ends_the_run(tmp_path):
    def tick():
        if settled_in(tmp_path)() > 2:
            raise PermissionError("the lease is gone")

    with pytest.raises(PermissionError, match="the lease is gone"):
        run_counted(tmp_path, workers=2, tick=tick, faults={"hangs_at": 5})
    assert not workers_left()


def test_ticks_come_from_the_callers_thread(tmp_path):
    threads = set()
    tick = lambda: threads.add(threading.current_thread())  # noqa: E731
    run_counted(tmp_path, tick=tick, faults={"seconds": 0.05})
    assert threads == {threading.current_thread()}


def test_the_hook_for_threads_is_given_back(tmp_path):
    before = threading.excepthook
    with pytest.raises(EngineError):
        run_counted(tmp_path, faults={"fails_at": 0})
    assert threading.excepthook is before


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return seconds, as `time.monotonic` does."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


def test_a_slow_count_is_asked_rarely(clock):
    asked = []

    def settled():
        asked.append(clock.now)
        clock.now += 2.0
        return len(asked)

    progress = watch._Progress(EngineConfig(), settled, None)
    for _ in range(300):
        clock.now += 0.5
        progress.check()
    assert len(asked) <= 1 + 150 / 40 + 1


@pytest.mark.parametrize(
    ("counts", "total", "survives", "breaks"),
    [
        ([0], None, 99, 104),
        ([0, 1], None, 990, 1100),
        ([7], 7, 990, 1100),
        ([7], 8, 99, 104),
    ],
    ids=["before the first", "after one", "all were there", "some were there"],
)
def test_how_long_a_run_may_stand_still(clock, counts, total, survives, breaks):
    remaining = list(counts)
    engine = EngineConfig(start_seconds=100, stall_seconds=1000)
    progress = watch._Progress(
        engine, lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0], total
    )
    clock.now += 1
    progress.check()
    clock.now = 1000 + survives
    progress.check()
    clock.now = 1000 + breaks
    with pytest.raises(EngineError, match="no window was finished for"):
        progress.check()


def test_a_count_that_fails_is_asked_again_until_it_takes_too_long(clock, caplog):
    answers = [0, OSError("away"), 1, OSError("away")]

    def settled():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    progress = watch._Progress(EngineConfig(start_seconds=100, stall_seconds=1000), settled, None)
    for _ in range(4):
        clock.now += 60
        progress.check()
    assert progress.count == 1
    assert "cannot be counted now: away" in caplog.text
    clock.now += 1000
    with pytest.raises(EngineError, match="no window was finished for 1000 s"):
        progress.check()


class Refused:
    """A pipeline that no server takes."""

    def __init__(self):
        self.options = beam_options(EngineConfig(name="portable", job_endpoint="embed"), ())
        self.submitted = threading.Semaphore(0)
        self.submissions = 0

    def run(self):
        """Fail."""
        self.submissions += 1
        self.submitted.release()
        raise RuntimeError("refused")


def test_a_job_that_is_cancelled_between_submissions_is_not_submitted_again():
    pipeline, engine = Refused(), EngineConfig(name="portable", job_endpoint="embed", retries=5)

    def stop():
        if pipeline.submitted.acquire(blocking=False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_watched(pipeline, engine, settled=lambda: 0, tick=stop, poll=0.1)
    assert pipeline.submissions == 1
    assert not [t for t in threading.enumerate() if t.name == PIPELINE_THREAD]


def test_a_job_whose_server_is_lost_is_cancelled_on_its_cluster(monkeypatch):
    engine = EngineConfig(name="flink", master="host:1", job_endpoint="host:2", retries=0)
    pipeline, cancelled = Refused(), []
    pipeline.options = beam_options(engine, ())
    monkeypatch.setattr(watch.FlinkRest, "cancel", lambda rest, name: cancelled.append(name))
    with pytest.raises(EngineError, match="refused"):
        run_watched(pipeline, engine, settled=lambda: 0, tick=nothing, poll=0.1)
    assert [name.startswith("aerial-deblur-") for name in cancelled] == [True]


class Slow:
    """A pipeline whose job appears on its cluster some time after it was submitted."""

    def __init__(self):
        self.options = beam_options(
            EngineConfig(name="flink", master="host:1", job_endpoint="host:2"), ()
        )
        self.running = threading.Event()
        self.ended = threading.Event()
        self.begun = threading.Event()

    def run(self):
        """Start the job."""
        self.begun.set()
        self.ended.wait(1.5)
        self.running.set()
        assert self.ended.wait(30)
        raise RuntimeError("cancelled")


def test_a_job_on_its_way_to_a_cluster_is_cancelled_when_it_is_there(monkeypatch):
    pipeline, engine = Slow(), EngineConfig(name="flink", master="host:1", job_endpoint="host:2")

    def cancel(rest, name):
        if pipeline.running.is_set():
            pipeline.ended.set()

    def stop():
        if pipeline.begun.is_set():
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.FlinkRest, "cancel", cancel)
    with pytest.raises(KeyboardInterrupt):
        run_watched(pipeline, engine, settled=lambda: 0, tick=stop, poll=0.1)
    assert pipeline.ended.is_set()


JAVA = """\
org.apache.flink.client.program.ProgramInvocationException: Job failed
\tat org.apache.flink.Somewhere.method(Somewhere.java:1)
Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed
\tat org.apache.flink.Elsewhere.method(Elsewhere.java:1)
Caused by: java.io.IOException: No space left on device
\t... 3 more"""
PYTHON = """\
java.lang.RuntimeException: Error received from SDK harness for instruction 3: \
Traceback (most recent call last):
  File "a.py", line 1, in f
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in g
transforms.Broken: scene a.tif: cannot be read [while running 'Read']

"""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            RuntimeError(PYTHON),
            "transforms.Broken: scene a.tif: cannot be read [while running 'Read']",
        ),
        (RuntimeError(JAVA), "java.io.IOException: No space left on device"),
        (RuntimeError("Pipeline a_b failed in state FAILED: java.lang.X: y"), "java.lang.X: y"),
        (OSError(28, "No space left"), "OSError: [Errno 28] No space left"),
        (MemoryError(), "MemoryError: "),
    ],
    ids=["python", "java", "state", "own", "silent"],
)
def test_the_cause_is_found_in_pages(error, cause):
    assert first_cause(error) == cause


LEFT_ALONE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from counted import counted_pipeline, settled_in
from configs.operations import EngineConfig
from pipeline.beam_flags import beam_options
from pipeline.leaving import leave
from pipeline.watch import EngineError, run_watched

engine = EngineConfig(start_seconds=1, stall_seconds=1)
pipeline = counted_pipeline(beam_options(engine, ()), Path({folder!r}), 3, hangs_at=1)
try:
    run_watched(pipeline, engine, settled=settled_in(Path({folder!r})), tick=lambda: None)
except EngineError:
    print("given up")
    sys.exit(leave(7))
"""


@pytest.mark.slow
def test_the_process_ends_though_the_pipeline_in_it_does_not(tmp_path):
    script = LEFT_ALONE.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    run = [sys.executable, "-c", textwrap.dedent(script)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (7, "given up\n"), ended.stderr
