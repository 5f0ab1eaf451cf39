"""The server that takes a job to Flink, Spark or Prism: ours for one run, in its own process."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from apache_beam.options.pipeline_options import (
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.runners.portability.job_server import SubprocessJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.runners.portability.spark_runner import SparkJarJobServer

SERVERS: dict[str, type[SubprocessJobServer]] = {
    "FlinkRunner": FlinkJarJobServer,
    "PrismRunner": PrismJobServer,
    "SparkRunner": SparkJarJobServer,
}

OPENED = ("java.lang", "java.lang.invoke", "java.net", "java.nio", "java.util", "java.time")
"""What Java 17 and later must open to the serialisers of Flink and Spark."""

STOP_SECONDS = 10.0


@contextmanager
def job_server(options: PipelineOptions) -> Iterator[None]:
    """Start the job server that the runner needs, and name it in the options; end it afterwards.

    Does nothing if the options name one already, or if the runner needs none. What the server says
    goes to our standard error. Beam could start it too, but only in the main thread, and would
    leave it running when the driver is killed. Raises RuntimeError if the server ends before it
    answers.
    """
    portable = options.view_as(PortableOptions)
    server = SERVERS.get(options.view_as(StandardOptions).runner)
    if server is None or portable.job_endpoint:
        yield
        return
    settings = options.view_as(JobServerOptions)
    given = settings.artifacts_dir
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-job-server-") as folder:
        settings.artifacts_dir = given or str(Path(folder, "artifacts"))
        command, endpoint = _command(server, options)
        process = subprocess.Popen([*_ends_with_us(), *command], stdout=2, stdin=subprocess.DEVNULL)
        try:
            _await_answer(process, endpoint)
            portable.job_endpoint = endpoint
            yield
        finally:
            portable.job_endpoint, settings.artifacts_dir = None, given
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(server: type[SubprocessJobServer], options: PipelineOptions) -> tuple[list[str], str]:
    """Return the command line of a job server and the address at which it will answer."""
    if server is not PrismJobServer:
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        settings = options.view_as(JobServerOptions)
        given = [flag for flag in settings.job_server_jvm_properties if flag not in opened]
        settings.job_server_jvm_properties = [*opened, *given]
    command, endpoint = server(options).subprocess_cmd_and_endpoint()
    return [str(word) for word in command], endpoint


def _ends_with_us() -> Sequence[str]:
    """Return what, before a command, lets the system end it when we are killed; Linux only."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]


def _await_answer(process: subprocess.Popen, endpoint: str) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        ready = grpc.channel_ready_future(channel)
        while process.poll() is None:
            try:
                ready.result(timeout=0.5)
                return
            except grpc.FutureTimeoutError:
                time.sleep(0.1)
    raise RuntimeError(f"the job server ended with code {process.returncode} before it answered")
