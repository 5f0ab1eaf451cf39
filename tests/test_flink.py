"""A real Flink cluster: it gives what a local run gives, whatever is killed meanwhile."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from apache_beam.options.pipeline_options import PortableOptions
from counted import counted_pipeline, processes_of, settled_in, sums_in, sums_of
from flink_cluster import FLINK_MISSING, JOB_SERVER, await_fact, running_cluster
from small_runs import again, local_run, tables

from configs.operations import EngineConfig
from pipeline.beam_flags import beam_options
from pipeline.job_server import job_server
from pipeline.preflight import check_engine
from pipeline.watch import EngineError, run_watched

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(FLINK_MISSING), reason=FLINK_MISSING),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Yield a cluster, and a job server that all jobs of the tests share to save time."""
    with running_cluster(tmp_path_factory.mktemp("flink")) as cluster:
        options = beam_options(engine_on(cluster), ())
        with job_server(options):
            cluster.endpoint = options.view_as(PortableOptions).job_endpoint
            yield cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory, one_code_version):
    return local_run(tmp_path_factory.mktemp("local"))


def engine_on(cluster, **settings):
    given = {"workers": 2, "retries": 0, "start_seconds": 300, "batch_size": 1, **settings}
    return EngineConfig(
        name="flink",
        master=cluster.master,
        worker_pool=cluster.pool.address,
        job_server_jar=JOB_SERVER,
        job_endpoint=cluster.endpoint,
        **given,
    )


def run_counted(folder, engine, tick=lambda: None, count=30, **faults):
    options = beam_options(engine, ())
    check_engine(engine, options)
    pipeline = counted_pipeline(options, folder, count, **faults)
    return run_watched(pipeline, engine, settled=settled_in(folder), tick=tick)


def test_two_processes_are_there_for_the_work(cluster, tmp_path):
    # Beam deals stages to processes in turn: both halves of one may meet in one process.
    seen = []
    run_counted(
        tmp_path,
        engine_on(cluster),
        tick=lambda: seen.append(len(cluster.pool.workers())),
        seconds=0.1,
    )
    assert sums_in(tmp_path) == sums_of(30)
    assert max(seen) == 2
    assert 1 <= len(processes_of(tmp_path)) <= 2


def test_a_failure_is_told_in_one_line(cluster, tmp_path):
    with pytest.raises(EngineError) as failure:
        run_counted(tmp_path, engine_on(cluster), fails_at=5)
    assert str(failure.value) == "ValueError: number 5 is not liked [while running 'Settle']"


def test_a_job_that_hangs_is_cancelled_on_the_cluster(cluster, tmp_path):
    engine = engine_on(cluster, stall_seconds=3)
    with pytest.raises(EngineError, match=r"no window was finished for 3 s"):
        run_counted(tmp_path, engine, hangs_at=5, seconds=0.01)
    await_fact(lambda: cluster.ask("/overview")["slots-available"] == 2, "its slots are free", 120)
    await_fact(lambda: not cluster.pool.workers(), "its workers are gone", 120)


def test_more_workers_than_slots_are_refused(cluster, tmp_path):
    with pytest.raises(ValueError, match="has 2 of 2 slots free on 1 task managers"):
        run_counted(tmp_path, engine_on(cluster, workers=3))


def test_a_run_equals_the_local_one(cluster, local, tmp_path):
    output = again(local, tmp_path / "run", engine=engine_on(cluster))
    assert tables(output) == tables(local)


def test_a_killed_worker_costs_a_second_submission(cluster, tmp_path):
    run_counted(tmp_path, engine_on(cluster, retries=1), dies_at=5)
    assert sums_in(tmp_path) == sums_of(30)
    assert "killed by SIGKILL" in cluster.pool.log()


def test_a_run_equals_the_local_one_though_the_task_manager_is_killed(cluster, local, tmp_path):
    output = tmp_path / "run"

    def kill():
        await_fact(lambda: any(output.glob("_work/units/**/*.*")), "a window is finished", 120)
        cluster.kill_task_manager()
        cluster.start_task_manager(wait=False)

    killer = threading.Thread(target=kill)
    killer.start()
    again(local, output, engine=engine_on(cluster, retries=3))
    killer.join()
    assert tables(output) == tables(local)


def test_the_cluster_within_the_job_server_needs_no_other(tmp_path):
    engine = EngineConfig(name="flink", job_server_jar=JOB_SERVER, retries=0)
    run_counted(tmp_path, engine)
    assert sums_in(tmp_path) == sums_of(30)
    assert processes_of(tmp_path) == {os.getpid()}


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from counted import counted_pipeline, settled_in
from configs.operations import EngineConfig
from pipeline.beam_flags import beam_options
from pipeline.watch import run_watched

engine = EngineConfig(name="flink", job_server_jar={jar!r})
pipeline = counted_pipeline(beam_options(engine, ()), Path({folder!r}), 9, hangs_at=0)
run_watched(pipeline, engine, settled=settled_in(Path({folder!r})), tick=lambda: None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_driver_leaves_no_job_server(tmp_path):
    import psutil

    script = DRIVER.format(
        tests=os.path.dirname(__file__), jar=str(JOB_SERVER), folder=str(tmp_path)
    )
    with open(tmp_path / "log", "wb") as log:
        driver = subprocess.Popen([sys.executable, "-c", script], stderr=log)
    children = psutil.Process(driver.pid).children
    await_fact(lambda: any(child.name() == "java" for child in children()), "a server starts")
    server = next(child for child in children() if child.name() == "java")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    await_fact(lambda: not server.is_running(), "the server ends with its driver")
