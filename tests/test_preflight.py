"""What a run is told before it is submitted to an engine that cannot take it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from configs.operations import EngineConfig
from configs.schema import RunConfig
from pipeline.beam_flags import beam_options
from pipeline.flink import FlinkRest
from pipeline.preflight import check_engine, check_places

OVERVIEW = {"flink-version": "1.20.5", "taskmanagers": 2, "slots-total": 4, "slots-available": 3}
NOWHERE = "127.0.0.1:1"


@contextmanager
def served(answers: dict) -> Iterator[str]:
    """Serve JSON by path at a free port, and yield HOST:PORT; PATCH is noted under `patched`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path in answers
            self.send_response(200 if known else 404)
            self.end_headers()
            content = answers.get(self.path)
            self.wfile.write(
                content if isinstance(content, bytes) else json.dumps(content).encode()
            )

        def do_PATCH(self):
            answers.setdefault("patched", []).append(self.path)
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_):
            """Keep silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Put a `java` on the PATH that says what it is told to say."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def install(version: str) -> None:
        script = folder / "java"
        script.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        script.chmod(0o755)

    install("17.0.15")
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return install


def check(*flags, **settings):
    engine = EngineConfig(**settings)
    check_engine(engine, beam_options(engine, flags))


def test_local_needs_nothing():
    check()


@pytest.mark.usefixtures("java")
def test_a_cluster_with_room_is_fine():
    with served({"/overview": OVERVIEW, "/jobmanager/config": []}) as master:
        check(name="flink", master=master, workers=3)


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize(
    ("overview", "workers", "told"),
    [
        ({}, 4, "has 3 of 4 slots free on 2 task managers, the run wants 4"),
        ({"slots-available": 0}, 1, "has 0 of 4 slots free"),
        ({"flink-version": "1.19.1"}, 1, "runs Flink 1.19.1, the job server is for 1.20"),
    ],
    ids=["too few slots", "no slot", "another version"],
)
def test_a_cluster_that_cannot_take_the_job_is_named(overview, workers, told):
    answers = {"/overview": {**OVERVIEW, **overview}, "/jobmanager/config": []}
    with served(answers) as master, pytest.raises(ValueError, match=told):
        check(name="flink", master=master, workers=workers)


@pytest.mark.usefixtures("java")
def test_a_cluster_that_grows_needs_no_free_slot():
    grows = [{"key": "kubernetes.cluster-id", "value": "maps"}]
    empty = {**OVERVIEW, "slots-available": 0, "slots-total": 0, "taskmanagers": 0}
    with served({"/overview": empty, "/jobmanager/config": grows}) as master:
        check(name="flink", master=master, workers=8)


@pytest.mark.usefixtures("java")
def test_a_master_that_is_no_flink_is_named():
    with (
        served({"/overview": b"<html>"}) as master,
        pytest.raises(ValueError, match="does not answer as Flink's REST does"),
    ):
        check(name="flink", master=master)


@pytest.mark.usefixtures("java")
def test_a_master_that_does_not_answer_is_named():
    with pytest.raises(ValueError, match=f"no Flink answers at http://{NOWHERE}"):
        check(name="flink", master=NOWHERE)


@pytest.mark.usefixtures("java")
def test_a_master_that_is_silent_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(OSError, match="timed out"):
            FlinkRest(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3).cluster()


def test_old_java_is_named(java):
    java("1.8.0_402")
    with pytest.raises(ValueError, match="needs Java 11 or newer, got"):
        check(name="flink")


def test_no_java_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="there is no java: install a JRE"):
        check(name="flink")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "flink", "job_server_jar": "none.jar"}, "job_server_jar is no file: none.jar"),
        ({"name": "prism", "prism_binary": "none"}, "engine.prism_binary is no file: none"),
        ({"name": "portable"}, "set job_endpoint"),
        ({"name": "portable", "job_endpoint": NOWHERE}, f"no job server answers at {NOWHERE}"),
        ({"name": "portable", "job_endpoint": "here"}, "job_endpoint must be HOST:PORT, got here"),
        (
            {"name": "portable", "job_endpoint": "embed", "worker_pool": NOWHERE},
            f"no worker pool answers at {NOWHERE} .*start it with: aerial-deblur worker-pool",
        ),
    ],
    ids=["jar", "prism", "no endpoint", "endpoint", "form", "pool"],
)
def test_what_is_missing_is_named(settings, told):
    with pytest.raises(ValueError, match=told):
        check(**settings)


@pytest.mark.usefixtures("java")
def test_the_pool_of_another_machine_is_not_looked_for_here(monkeypatch):
    monkeypatch.setattr("pipeline.preflight.HERE", ())
    with served({"/overview": OVERVIEW, "/jobmanager/config": []}) as master:
        check(name="flink", master=master, worker_pool=NOWHERE)


def test_jobs_are_cancelled_by_their_name():
    jobs = [
        {"jid": "a", "name": "ours", "state": "RUNNING"},
        {"jid": "b", "name": "ours", "state": "FINISHED"},
        {"jid": "c", "name": "theirs", "state": "RUNNING"},
    ]
    answers = {"/jobs/overview": {"jobs": jobs}}
    with served(answers) as master:
        FlinkRest(f"http://{master}").cancel("ours")
    assert answers["patched"] == ["/jobs/a?mode=cancel"]


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"output": "out/night"}, "output: workers of flink would look for out/night"),
        ({"input": {"scenes": ["in/*.tif"]}}, "input.scenes: .* in/"),
        ({"input": {"scenes": ["/in/a.tif"], "labels": "a.geojson"}}, "input.labels"),
        ({"input": {"stac": {"source": "item.json"}}}, "input.stac.source"),
    ],
    ids=["output", "scenes", "labels", "stac"],
)
def test_relative_names_are_refused_where_workers_would_look_elsewhere(sections, told):
    content = {"output": "/out", "engine": {"name": "flink", "worker_pool": "localhost:5"}}
    config = RunConfig(**content | sections)
    with pytest.raises(ValueError, match=told):
        check_places(config, beam_options(config.engine, []))
    here = config.model_copy(update={"engine": EngineConfig(name="flink")})
    check_places(here, beam_options(here.engine, []))


def test_names_that_are_the_same_everywhere_are_fine():
    config = RunConfig(
        output="s3://maps/night",
        input={"scenes": ["/in/*.tif", "https://host/a.tif"], "stac": {"source": "/in/item.json"}},
        engine={"name": "flink", "worker_pool": "localhost:5"},
    )
    check_places(config, beam_options(config.engine, []))
