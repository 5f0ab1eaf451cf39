"""A real S3-protocol server on 127.0.0.1, which remembers what was asked and fails on demand.

It is moto's server in a process of its own: rasterio holds the interpreter's lock while GDAL waits
for an answer, so that a server in a thread of the test would never give one.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import Request, urlopen

import pytest

BUCKET = "maps"
SECRET = "a-secret-that-no-file-may-hold"
ACCESS_KEY = "AKIDEXAMPLEOFTESTS"
CONTROL = "/_watch/"


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it: `sent` are the bytes of the answer's body."""

    method: str
    path: str
    range: str
    status: int
    sent: int


@dataclass(frozen=True)
class Store:
    """A running server with an empty bucket of its own for each test."""

    endpoint: str
    bucket: str

    @property
    def url(self) -> str:
        """Return the URL of the bucket, as users write it."""
        return f"s3://{self.bucket}"

    def put(self, key: str, content: bytes | Path) -> str:
        """Store an object and return its URL."""
        body = content.read_bytes() if isinstance(content, Path) else content
        self._call("PUT", f"/{self.bucket}/{key}", body)
        return f"{self.url}/{key}"

    def get(self, key: str) -> bytes:
        """Return what an object holds."""
        return self._call("GET", f"/{self.bucket}/{key}")

    def delete(self, key: str) -> None:
        """Remove an object, unseen by whoever has listed it."""
        self._call("DELETE", f"/{self.bucket}/{key}")

    def list_keys(self) -> list[str]:
        """Return the names of all objects, in order (up to 1000)."""
        from xml.etree import ElementTree

        listing = ElementTree.fromstring(self._call("GET", f"/{self.bucket}?list-type=2"))
        return [node.text for node in listing.iter() if node.tag.endswith("}Key")]

    def take_requests(self) -> list[Asked]:
        """Return what was asked since the last call, of objects and lists, by anyone but this."""
        return [Asked(**asked) for asked in json.loads(self._call("GET", f"{CONTROL}requests"))]

    def fail(self, part: str, *, times: int, status: int = 503, method: str = "") -> None:
        """Answer the next requests whose path or query holds `part` so; status 0 is silence."""
        fault = {"part": part, "times": times, "status": status, "method": method}
        self._call("PUT", f"{CONTROL}fault", json.dumps(fault).encode())

    def heal(self) -> None:
        """Answer everything again."""
        self._call("PUT", f"{CONTROL}heal", b"")

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        key = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request"
        request = Request(f"{self.endpoint}{path}", data=body, method=method)
        request.add_header("Authorization", f"{key}, SignedHeaders=host, Signature=0")
        request.add_header("Content-Type", "application/octet-stream")
        request.add_header("X-Watch", "unseen")
        with urlopen(request, timeout=30) as answer:
            return answer.read()


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server and yield its address; it stops with the block."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def store_in_environment(endpoint: str, bucket: str) -> Iterator[Store]:
    """Make an empty bucket and name server and credentials as users do: in the environment."""
    store = Store(endpoint, bucket)
    store._call("PUT", f"/{bucket}", b"")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        store.heal()
        store.take_requests()
        yield store


class Watched:
    """A WSGI application around another: it remembers requests and answers some with faults."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._asked: list[Asked] = []
        self._faults: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        if path.startswith(CONTROL):
            return self._control(path.removeprefix(CONTROL), environ, start)
        if environ.get("HTTP_X_WATCH"):
            return self._application(environ, start)
        fault = self._fault(environ["REQUEST_METHOD"], f"{path}?{environ['QUERY_STRING']}")
        if fault is not None:
            return self._refuse(fault, environ, start)
        return self._forward(environ, start)

    def _forward(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        said: list[str] = []

        def note(status: str, headers: object, *rest: object) -> object:
            said.append(status)
            return start(status, headers, *rest)

        body = b"".join(self._application(environ, note))
        self._remember(environ, int(said[-1].split()[0]), len(body))
        return [body]

    def _refuse(
        self, status: int, environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        self._remember(environ, status, 0)
        if status == 0:
            time.sleep(600)
        start(f"{status} {HTTPStatus(status).phrase}", [("Content-Length", "0")])
        return [b""]

    def _fault(self, method: str, path: str) -> int | None:
        for fault in self._faults:
            fits = fault["part"] in unquote(path) and fault["method"] in ("", method)
            if fits and fault["times"] > 0:
                fault["times"] -= 1
                return int(fault["status"])
        return None

    def _remember(self, environ: dict[str, Any], status: int, sent: int) -> None:
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        method, wanted = environ["REQUEST_METHOD"], environ.get("HTTP_RANGE", "")
        self._asked.append(Asked(method, f"{environ['PATH_INFO']}{query}", wanted, status, sent))

    def _control(
        self, what: str, environ: dict[str, Any], start: Callable[..., Any]
    ) -> Iterable[bytes]:
        answer = b""
        if what == "requests":
            asked, self._asked = self._asked, []
            answer = json.dumps([asdict(one) for one in asked]).encode()
        elif what == "heal":
            self._faults = []
        else:
            length = int(environ["CONTENT_LENGTH"])
            self._faults.append(json.loads(environ["wsgi.input"].read(length)))
        start("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]


def serve() -> None:
    """Answer until killed, on a free port that is printed first."""
    import logging

    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    watched = Watched(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, watched, threaded=True, request_handler=MotoRequestHandler)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
