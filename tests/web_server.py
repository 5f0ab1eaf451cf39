"""A web server on 127.0.0.1 whose answers a test decides, and which remembers what was asked."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

Answer = bytes | int | dict[str, Any]
"""A body, a status without one, or JSON."""


@dataclass(frozen=True)
class Ask:
    """A request: its parameters are those of the query, or of the body that was posted."""

    method: str
    path: str
    parameters: Mapping[str, Any]


Page = Answer | Callable[[Ask], Answer]


@dataclass
class Site:
    """A running server: `pages` may be changed at any time, `asked` grows."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)

    def answer(self, ask: Ask) -> tuple[int, bytes]:
        """Return status and body of a page."""
        self.asked.append(ask)
        page = self.pages.get(ask.path, 404)
        found = page(ask) if callable(page) else page
        if isinstance(found, int):
            return found, b""
        return 200, found if isinstance(found, bytes) else json.dumps(found).encode()


@contextmanager
def serving() -> Iterator[Site]:
    """Start a server and yield its site; it stops with the block."""
    site = Site("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._reply(Ask("GET", unquote(parts.path), dict(parse_qsl(parts.query))))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._reply(Ask("POST", unquote(self.path), body))

        def _reply(self, ask: Ask) -> None:
            status, body = site.answer(ask)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        pytest.MonkeyPatch.context() as p,
    ):
        p.setenv("NO_PROXY", "127.0.0.1")
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
