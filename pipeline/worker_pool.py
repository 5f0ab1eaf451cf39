"""The pool of Python workers on a machine of a cluster: Beam's external worker pool, made robust.

Beam's own starts whatever `python` is first on the PATH, keeps silent about workers that die, and
lets jobs wait for them for ever. This one starts the interpreter that it runs in, and answers a
request only when the worker is up or has failed.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipeline.workers import THREADS

HOST = "127.0.0.1"
"""A pool runs whatever it is sent, so it listens to its own machine only."""

STOP_SECONDS = 10.0
READY = b"ready"
WORKER = "pipeline.worker_pool"
"""The module that a worker process is; see `work`."""

_NEEDED = ("apache_beam", "pipeline", "rasterio", "torch", "ultralytics")


def serve(port: int) -> int:
    """Start workers for jobs that ask at a port of this machine, until SIGTERM or Ctrl-C.

    Returns the exit code. Raises OSError if the port is taken, ValueError if this interpreter
    cannot run our pipeline. Port 0 takes any.
    """
    _check_interpreter()
    pool = WorkerPool()
    server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        port = server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as error:
        raise OSError(f"the worker pool cannot listen at {HOST}:{port}: is it taken?") from error
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server.start()
    _say(f"waiting for jobs at {HOST}:{port}, with {sys.executable}")
    ended.wait()
    server.stop(0)
    pool.stop_all()
    _say("ended")
    return 0


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and ends worker processes as runners ask for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[str, _Worker] = {}

    def StartWorker(  # noqa: N802
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: object
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start a worker; answer when it is about to connect, with an error if it ended."""
        worker = _Worker.start(request.worker_id, request.control_endpoint.url)
        with self._lock:
            self._workers[request.worker_id] = worker
        watch = threading.Thread(target=worker.await_end, daemon=True)
        watch.start()
        if worker.await_ready():
            return beam_fn_api_pb2.StartWorkerResponse()
        watch.join()
        ending = describe_ending(worker.process.returncode)
        return beam_fn_api_pb2.StartWorkerResponse(
            error=f"the Python worker {worker.name} ended before it was ready: {ending}; "
            "what it said is in the log of the worker pool on its machine"
        )

    def StopWorker(  # noqa: N802
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: object
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """End a worker and what it started."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            worker.stop()
        return beam_fn_api_pb2.StopWorkerResponse()

    def stop_all(self) -> None:
        """End all workers."""
        with self._lock:
            workers, self._workers = list(self._workers.values()), {}
        stopping = [threading.Thread(target=worker.stop) for worker in workers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()


@dataclass
class _Worker:
    """A worker process, in a process group of its own with what it starts.

    It ends itself when its standard input does, so that none outlives its pool.
    """

    name: str
    process: subprocess.Popen
    ready: int
    asked_to_stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, name: str, control: str) -> "_Worker":
        ready, tell_ready = os.pipe()
        command = [sys.executable, "-m", WORKER, control, name, str(tell_ready)]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                pass_fds=(tell_ready,),
                start_new_session=True,
                env={**dict.fromkeys(THREADS, "1"), **os.environ},
            )
        finally:
            os.close(tell_ready)
        _say(f"worker {name} started: process {process.pid}, for the job at {control}")
        return cls(name, process, ready)

    def await_ready(self) -> bool:
        """Return whether the worker came up; blocks until it did, or ended."""
        with os.fdopen(self.ready, "rb") as pipe:
            return pipe.read() == READY

    def await_end(self) -> None:
        code = self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        if code != 0 and not self.asked_to_stop.is_set():
            _say(f"worker {self.name} (process {self.process.pid}) ended: {describe_ending(code)}")

    def stop(self) -> None:
        self.asked_to_stop.set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
                return


def describe_ending(code: int) -> str:
    """Return how a process ended, in words, from its return code."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def work(arguments: Sequence[str]) -> None:
    """Be a worker: connect to the job, serve it to its end. Started by the pool."""
    parser = argparse.ArgumentParser()
    parser.add_argument("control")
    parser.add_argument("name")
    parser.add_argument("ready", type=int)
    given = parser.parse_args(arguments)
    threading.Thread(target=_end_with_pool, daemon=True).start()

    from apache_beam.runners.worker.sdk_worker import SdkHarness

    harness = SdkHarness(
        given.control, worker_id=given.name, state_cache_size=0, data_buffer_time_limit_ms=-1
    )
    with os.fdopen(given.ready, "wb") as pipe:
        pipe.write(READY)
    try:
        harness.run()
    except grpc.RpcError as error:
        sys.exit(f"worker {given.name}: the job is gone: {error}")


def _end_with_pool() -> None:
    """Wait for the end of standard input, which the pool holds open; then end, with children."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def _check_interpreter() -> None:
    """Raise ValueError if this interpreter, started anew, does not find what workers import."""
    look = (
        f"from importlib.util import find_spec; print(*[m for m in {_NEEDED} if not find_spec(m)])"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    if told.returncode != 0 or told.stdout.strip():
        raise ValueError(
            f"{sys.executable} cannot run workers, it lacks: {told.stdout.strip() or told.stderr}; "
            "start the pool with an interpreter that has aerial-deblur installed"
        )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} worker pool: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    work(sys.argv[1:])
