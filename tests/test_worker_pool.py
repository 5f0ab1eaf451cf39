"""The pool of workers, asked as a runner asks it."""

import signal
import sys

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from flink_cluster import await_fact, running_pool

from pipeline import worker_pool

pytestmark = pytest.mark.slow


class Runner(beam_fn_api_pb2_grpc.BeamFnControlServicer):
    """The side of a job to which workers connect; it has nothing to do for them."""

    def __init__(self) -> None:
        self.server = grpc.server(worker_pool.ThreadPoolExecutor(8))
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.workers: list[str] = []
        self.server.start()

    def Control(self, requests, context):  # noqa: N802
        """Note who connects, and wait for what it never says."""
        self.workers.append(dict(context.invocation_metadata())["worker_id"])
        yield from ()
        for _ in requests:
            pass


@pytest.fixture
def runner():
    runner = Runner()
    yield runner
    runner.server.stop(0)


@pytest.fixture
def pool(tmp_path):
    with running_pool(tmp_path) as pool:
        yield pool


@pytest.fixture
def stub(pool):
    with grpc.insecure_channel(pool.address) as channel:
        yield beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)


def request_for(name, address):
    endpoint = endpoints_pb2.ApiServiceDescriptor(url=address)
    return beam_fn_api_pb2.StartWorkerRequest(worker_id=name, control_endpoint=endpoint)


def test_a_worker_starts_with_our_interpreter_and_ends_when_told(pool, stub, runner):
    assert stub.StartWorker(request_for("w-1", runner.address)).error == ""
    await_fact(lambda: runner.workers == ["w-1"], "the worker connects")
    (worker,) = pool.workers()
    assert worker.cmdline()[0] == sys.executable
    stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="w-1"))
    assert not psutil.pid_exists(worker.pid)
    assert "w-1 started" in pool.log()
    assert f"w-1 (process {worker.pid})" not in pool.log()


def test_a_killed_worker_is_told(pool, stub, runner):
    stub.StartWorker(request_for("w-1", runner.address))
    killed = pool.kill_worker()
    line = f"worker w-1 (process {killed}) ended: killed by SIGKILL"
    await_fact(lambda: line in pool.log(), "the pool says so")


def test_workers_end_with_their_pool_however_it_ends(pool, stub, runner):
    stub.StartWorker(request_for("w-1", runner.address))
    (worker,) = pool.workers()
    psutil.Process(pool._processes.pid("pool")).kill()
    await_fact(lambda: not worker.is_running(), "the worker ends")


def test_sigterm_ends_pool_and_workers(pool, stub, runner):
    stub.StartWorker(request_for("w-1", runner.address))
    (worker,) = pool.workers()
    process = pool._processes._running["pool"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not psutil.pid_exists(worker.pid)


def test_a_port_that_is_taken_is_named(pool):
    with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1:{pool.port}: is it taken"):
        worker_pool.serve(pool.port)


def test_a_worker_that_cannot_start_is_an_answer_and_no_wait(monkeypatch, capfd):
    monkeypatch.setattr(worker_pool, "WORKER", "pipeline.no_such_module")
    answer = worker_pool.WorkerPool().StartWorker(request_for("w-1", "127.0.0.1:1"), None)
    assert "the Python worker w-1 ended before it was ready: exit code 1" in answer.error
    assert "No module named pipeline.no_such_module" in capfd.readouterr().err


def test_an_interpreter_without_our_packages_is_refused(monkeypatch):
    monkeypatch.setattr(worker_pool, "_NEEDED", ("sys", "no_such_package_of_ours"))
    with pytest.raises(ValueError, match="it lacks: no_such_package_of_ours;"):
        worker_pool.serve(0)
