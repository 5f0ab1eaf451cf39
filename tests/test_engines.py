"""Engines without Java: Prism, and Beam's portable runner with its job service in this process."""

import psutil
import pytest
from apache_beam.options.pipeline_options import JobServerOptions
from counted import counted_pipeline, processes_of, settled_in, sums_in, sums_of
from flink_cluster import PRISM, PRISM_MISSING, running_pool
from small_runs import again, local_run, tables

from configs.operations import EngineConfig
from pipeline.beam_flags import beam_options
from pipeline.job_server import job_server
from pipeline.preflight import check_engine
from pipeline.watch import EngineError, run_watched

pytestmark = pytest.mark.slow

needs_prism = pytest.mark.skipif(bool(PRISM_MISSING), reason=PRISM_MISSING)
ENGINES = [
    pytest.param({"name": "prism", "prism_binary": PRISM}, marks=needs_prism, id="prism"),
    pytest.param({"name": "portable", "job_endpoint": "embed"}, id="portable"),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with running_pool(tmp_path_factory.mktemp("pool")) as pool:
        yield pool


@pytest.fixture(scope="module")
def local(tmp_path_factory, one_code_version):
    return local_run(tmp_path_factory.mktemp("local"))


def run_counted(folder, settings, tick=lambda: None, **faults):
    engine = EngineConfig(retries=0, start_seconds=60, **settings)
    options = beam_options(engine, ())
    check_engine(engine, options)
    pipeline = counted_pipeline(options, folder, 12, **faults)
    return run_watched(pipeline, engine, settled=settled_in(folder), tick=tick)


@pytest.mark.parametrize("settings", ENGINES)
def test_workers_of_the_pool_do_the_work(settings, pool, tmp_path):
    run_counted(tmp_path, {**settings, "worker_pool": pool.address})
    assert sums_in(tmp_path) == sums_of(12)
    assert all(f"process {number}," in pool.log() for number in processes_of(tmp_path))


@pytest.mark.parametrize("settings", ENGINES)
def test_a_failure_is_told_in_one_line(settings, tmp_path):
    with pytest.raises(EngineError) as failure:
        run_counted(tmp_path, settings, fails_at=5)
    assert str(failure.value) == "ValueError: number 5 is not liked [while running 'Settle']"


@pytest.mark.parametrize("settings", ENGINES)
def test_a_run_equals_the_local_one(settings, pool, local, tmp_path):
    engine = EngineConfig(**settings, worker_pool=pool.address, batch_size=1)
    assert tables(again(local, tmp_path / "run", engine=engine)) == tables(local)


def test_a_server_that_cannot_start_is_told(tmp_path):
    broken = tmp_path / "prism"
    broken.write_text("#!/bin/sh\nexit 3\n")
    options = beam_options(EngineConfig(name="prism", prism_binary=broken), ())
    with (
        pytest.raises(RuntimeError, match="the job server ended with code 3 before it answered"),
        job_server(options),
    ):
        pass
    # The folder of this server is gone: the next one gets its own.
    assert options.view_as(JobServerOptions).artifacts_dir is None


@needs_prism
def test_a_job_server_that_dies_is_told(tmp_path):
    def kill():
        if settled_in(tmp_path)():
            (server,) = [child for child in psutil.Process().children() if "prism" in child.name()]
            server.kill()

    with pytest.raises(EngineError, match="the connection to the job server broke"):
        run_counted(tmp_path, {"name": "prism", "prism_binary": PRISM}, kill, hangs_at=5)


@needs_prism
def test_a_job_is_submitted_again(tmp_path):
    """The worker is this process's own thread, so the fault is one that passes."""
    engine = EngineConfig(name="prism", prism_binary=PRISM, retries=1)
    pipeline = counted_pipeline(beam_options(engine, ()), tmp_path, 12, fails_once_at=5)
    run_watched(pipeline, engine, settled=settled_in(tmp_path), tick=lambda: None)
    assert sums_in(tmp_path) == sums_of(12)
