"""A server that somebody else runs: it counts what is asked of it, and can be slow."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Origin:
    """`files` by path. `delay_s` holds every answer back. `asked` counts by path."""

    host: str
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)

    def url(self, path: str, content: bytes | None = None) -> str:
        """The address of a path, with this content from now on."""
        if content is not None:
            self.files[path] = content
        return f"http://{self.host}{path}"


@contextmanager
def origin() -> Iterator[Origin]:
    known: list[Origin] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = known[0]
            here.asked[self.path] += 1
            time.sleep(here.delay_s)
            if self.path in here.redirects:
                self.send_response(302)
                self.send_header("Location", here.redirects[self.path])
                self.end_headers()
                return
            content = here.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.append(Origin(host=f"127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield known[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
