"""Is the engine there? Asked before anything is submitted, because servers wait for ever."""

import re
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    StandardOptions,
)

from configs.operations import EngineConfig
from configs.schema import RunConfig
from pipeline.flink import Cluster, FlinkRest

OLDEST_JAVA = 11
REACHABLE_SECONDS = 10.0
HERE = ("localhost", "127.0.0.1", "::1")


def check_engine(engine: EngineConfig, options: PipelineOptions) -> None:
    """Raise ValueError, with what to do about it, if a run cannot start on its engine.

    Takes less than half a minute: Java, jars and binaries, the servers' answers, the cluster's
    version and free slots. What a cluster's machines lack cannot be seen from here.
    """
    runner = options.view_as(StandardOptions).runner
    portable = options.view_as(PortableOptions)
    if runner == "PortableRunner" and not portable.job_endpoint:
        raise ValueError("a portable run needs the address of a job server: set job_endpoint")
    if portable.job_endpoint and portable.job_endpoint != "embed":
        _check_reachable(portable.job_endpoint, "job server", "engine.job_endpoint")
    elif runner in ("FlinkRunner", "SparkRunner"):
        _check_job_server(runner, options)
    if runner == "FlinkRunner":
        _check_flink(options)
    elif runner == "PrismRunner":
        _check_file(options.view_as(PrismRunnerOptions).prism_location, "engine.prism_binary")
    elif runner == "DataflowRunner" and find_spec("apitools") is None:
        raise ValueError("Dataflow needs Beam's Google parts: pip install 'apache-beam[gcp]'")
    if portable.environment_type == "EXTERNAL" and _workers_are_here(options):
        _check_reachable(portable.environment_config, "worker pool", "engine.worker_pool")


def check_places(config: RunConfig, options: PipelineOptions) -> None:
    """Raise ValueError for a relative name if workers of other processes are to look it up.

    They would look in the folder that they were started in, and find or write something else.
    """
    runner = options.view_as(StandardOptions).runner
    elsewhere = options.view_as(PortableOptions).environment_type == "EXTERNAL"
    if runner != "DataflowRunner" and not elsewhere:
        return
    source = config.input
    places: list[tuple[str, object]] = [("output", config.output)]
    places += [("input.scenes", scene) for scene in source.scenes]
    places += [
        (f"input.{name}", getattr(source, name)) for name in ("labels", "area", "ignore", "aoi")
    ]
    if source.stac is not None:
        places.append(("input.stac.source", source.stac.source))
    for name, place in places:
        text = "" if place is None else str(place)
        if text and "://" not in text and not Path(text).is_absolute():
            raise ValueError(
                f"{name}: workers of {config.engine.name} would look for {text} in a folder of "
                f"their own: write it from the root, such as {Path(text).absolute()}"
            )


def _check_job_server(runner: str, options: PipelineOptions) -> None:
    """Check what starting a job server's jar needs; Beam downloads its own if none is named."""
    if runner == "FlinkRunner":
        jar = options.view_as(FlinkRunnerOptions).flink_job_server_jar
    else:
        jar = options.view_as(SparkRunnerOptions).spark_job_server_jar
    _check_file(jar, "engine.job_server_jar")
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise ValueError(
            f"the job server needs Java {OLDEST_JAVA} or newer, and there is no {java}: "
            "install a JRE, or name a running job server by engine.job_endpoint"
        )
    told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise ValueError(
            f"the job server needs Java {OLDEST_JAVA} or newer, got {told.splitlines()[:1]}"
        )


def _check_flink(options: PipelineOptions) -> None:
    """Check that the cluster answers, is of our version, and has room for the job."""
    flink = options.view_as(FlinkRunnerOptions)
    if flink.flink_master.startswith("["):
        return
    try:
        cluster = FlinkRest(flink.flink_master, REACHABLE_SECONDS).cluster()
    except OSError as error:
        raise ValueError(
            f"no Flink answers at {flink.flink_master} (engine.master is the address of its REST "
            f"interface, usually port 8081): {_first_line(error)}"
        ) from error
    minor = ".".join(cluster.version.split(".")[:2])
    if minor != flink.flink_version:
        raise ValueError(
            f"the cluster at {flink.flink_master} runs Flink {cluster.version}, the job server is "
            f"for {flink.flink_version}: set engine.flink_version: '{minor}', with its job server"
        )
    _check_slots(cluster, flink.parallelism, flink.flink_master)


def _check_slots(cluster: Cluster, wanted: int, master: str) -> None:
    """A job waits for slots that a fixed cluster does not have until it fails for time."""
    if cluster.grows or cluster.free_slots >= max(1, wanted):
        return
    raise ValueError(
        f"the cluster at {master} has {cluster.free_slots} of {cluster.slots} slots free on "
        f"{cluster.task_managers} task managers, the run wants {max(1, wanted)} (engine.workers): "
        "start task managers, cancel jobs that nobody waits for, or set fewer workers"
    )


def _workers_are_here(options: PipelineOptions) -> bool:
    """Say whether the pool's address, which is meant for the cluster's machines, holds here."""
    master = options.view_as(FlinkRunnerOptions).flink_master
    endpoint = options.view_as(PortableOptions).job_endpoint
    hosts = [urlsplit(master).hostname if "//" in master else None]
    if endpoint and endpoint != "embed":
        hosts.append(endpoint.rpartition(":")[0])
    return all(host is None or host in HERE for host in hosts)


def _check_reachable(address: str, what: str, setting: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{setting} must be HOST:PORT, got {address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHABLE_SECONDS).close()
    except OSError as error:
        remedy = "; start it with: aerial-deblur worker-pool" if what == "worker pool" else ""
        raise ValueError(f"no {what} answers at {address} ({setting}): {error}{remedy}") from error


def _check_file(path: str | None, setting: str) -> None:
    if path and "://" not in path and not Path(path).is_file():
        raise ValueError(f"{setting} is no file: {path}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
