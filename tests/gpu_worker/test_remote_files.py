"""Inputs and results over presigned locations: a worker without credentials."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.contract import InputFile


class FileStore:
    """Speaks GET and PUT, until it is told to fail."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fail_with = 0
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(store.fail_with or 200, store.files.get(self.path, b""))

            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if not store.fail_with:
                    store.files[self.path] = content
                self._send(store.fail_with or 200, b"")

            def _send(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store(platform: Any) -> Iterator[FileStore]:
    store = FileStore()
    platform.locate = lambda key: f"{store.url}/{key}?signature=secret"
    yield store
    store.close()


@pytest.fixture
def remote_worker(start_worker: Any, tmp_path: Path) -> Any:
    return start_worker(NIJIKA_WORKER_SCRATCH=str(tmp_path))


def test_remote_input_is_read_and_result_is_uploaded(
    store: FileStore, remote_worker: Any, platform: Any, tmp_path: Path
) -> None:
    store.files["/input"] = b"from afar"
    there = InputFile(role="image", location=f"{store.url}/input")
    job = platform.job("echo", inputs=(there,))
    remote_worker.send(job)
    [ended] = platform.ended(job)
    [result] = ended.report.results
    assert store.files[f"/{result.key}?signature=secret"] == b"from afar"
    # Nothing stays in memory.
    [folder] = tmp_path.glob("nijika-worker-*")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_store_that_refuses_is_a_retryable_failure(
    store: FileStore, remote_worker: Any, platform: Any, status: int
) -> None:
    store.fail_with = status
    job = platform.job("echo")
    remote_worker.send(job)
    [ended] = platform.ended(job)
    failure = ended.report.failure
    assert (failure.code, failure.retryable) == ("storage_unavailable", True)
    assert "signature" not in failure.message


def test_store_that_is_gone_is_a_retryable_failure(
    store: FileStore, remote_worker: Any, platform: Any
) -> None:
    there = InputFile(role="image", location="http://127.0.0.1:9/input")
    job = platform.job("echo", inputs=(there,))
    remote_worker.send(job)
    [ended] = platform.ended(job)
    assert ended.report.failure.code == "storage_unavailable"
