"""A local server that speaks as the providers do, their failures included.

HTTP for Google, OpenAI, its likes and Stability, HTTPS for fal (its SDK knows nothing
else). Every answer that is an error repeats the key and the whole request's head, as a
careless provider might: whoever shows or logs such a text is found out.
"""

from __future__ import annotations

import base64
import io
import json
import ssl
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from PIL import Image

LONGEST_HANG_S = 60.0
LATER_S = 2
"""What a provider asks for that is `later`."""


def picture(colour: str = "teal", size: tuple[int, int] = (96, 64)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return content.getvalue()


PICTURE = picture()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request, as a provider got it."""

    provider: str
    method: str
    path: str
    key: str
    headers: Message
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Queued:
    """A request in fal's queue."""

    looks: int = 0
    cancelled: bool = False


class Providers:
    """What the providers do next, and what they have been asked."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.queue: dict[str, Queued] = {}
        self.go_on = threading.Event()
        self._next: dict[str, deque[str]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.http_port = self.https_port = 0

    def will(self, provider: str, *ways: str) -> None:
        """How the provider answers its next requests; then it is well again."""
        with self._lock:
            self._next[provider] = deque(ways)

    def way(self, provider: str) -> str:
        with self._lock:
            waiting = self._next[provider]
            return waiting.popleft() if waiting else "ok"

    def forget(self) -> None:
        """Ready for the next test."""
        with self._lock:
            self.seen.clear()
            self.queue.clear()
            self._next.clear()
        self.go_on.set()
        self.go_on = threading.Event()

    def asked(self, provider: str, method: str = "POST") -> list[Seen]:
        """The requests to work that this provider got."""
        return [s for s in self.seen if (s.provider, s.method) == (provider, method)]


class _Handler(BaseHTTPRequestHandler):
    providers: Providers
    _later: dict[str, str]
    protocol_version = "HTTP/1.1"
    secure = False
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        self._take()

    def do_GET(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._later = {}
        if self.path.startswith("/files/"):
            self._file(self.path.removeprefix("/files/"))
            return
        provider = self._provider()
        key = _key(self.headers)
        seen = Seen(
            provider=provider,
            method=self.command,
            path=self.path,
            key=key,
            headers=self.headers,
            body=body,
        )
        self.providers.seen.append(seen)
        # A look at the queue is no request to work, and has ways of its own.
        asks = provider if self.command == "POST" else f"{provider} {self.command}"
        way = self.providers.way(asks)
        if way == "cut":
            self.close_connection = True
            self.connection.close()
            return
        if way == "hang":
            self.providers.go_on.wait(LONGEST_HANG_S)
            self.close_connection = True
            return
        # Google says it in its answer's body alone.
        says = way == "later" and provider != "google"
        self._later = {"Retry-After": str(LATER_S)} if says else {}
        getattr(self, f"_{provider}")(way, seen)

    def _provider(self) -> str:
        if self.secure:
            return "fal"
        if "generateContent" in self.path:
            return "google"
        if "/stable-image/" in self.path:
            return "stability"
        return "compatible" if self.path.startswith("/compatible/") else "openai"

    # Google

    def _google(self, way: str, seen: Seen) -> None:
        if way in GOOGLE_ERRORS:
            status, error = GOOGLE_ERRORS[way]
            said = {"code": status, **error, "message": self._echo(seen)}
            self._json(status, {"error": said})
        else:
            self._json(200, _google_answer(way))

    # OpenAI and its likes

    def _openai(self, way: str, seen: Seen) -> None:
        if way in OPENAI_ERRORS:
            status, code = OPENAI_ERRORS[way]
            error = {"message": self._echo(seen), "type": "x", "code": code}
            self._json(status, {"error": error})
            return
        number = _asked_number(seen)
        one: dict[str, Any] = {"b64_json": base64.b64encode(PICTURE).decode()}
        if way == "url":
            one = {"url": f"http://127.0.0.1:{self.providers.http_port}/files/ok"}
        if way == "damaged":
            one = {"b64_json": base64.b64encode(b"no picture").decode()}
        data = [] if way == "empty" else [one] * number
        self._json(200, {"created": 1, "data": data})

    _compatible = _openai

    # Stability

    def _stability(self, way: str, seen: Seen) -> None:
        if way in STABILITY_ERRORS:
            status, name = STABILITY_ERRORS[way]
            self._json(status, {"id": "1", "name": name, "errors": [self._echo(seen)]})
            return
        reason = "CONTENT_FILTERED" if way == "filtered" else "SUCCESS"
        extra = {"finish-reason": reason, "seed": "4711"}
        self._bytes(200, "image/png", b"" if way == "empty" else PICTURE, extra)

    # fal

    def _fal(self, way: str, seen: Seen) -> None:
        if way in FAL_ERRORS:
            status, kind = FAL_ERRORS[way]
            detail = [{"loc": ["body"], "msg": self._echo(seen), "type": kind}]
            self._json(status, {"detail": detail})
        elif self.command == "POST":
            self._queue(seen)
        elif self.command == "PUT":
            self._queued().cancelled = True
            self._json(202, {"status": "CANCELLATION_REQUESTED"})
        elif self.path.partition("?")[0].endswith("/status"):
            self._status(way)
        else:
            self._json(200, self._fal_result(way))

    def _queue(self, seen: Seen) -> None:
        request_id = str(uuid.uuid4())
        self.providers.queue[request_id] = Queued()
        base = f"https://localhost:{self.providers.https_port}{seen.path}"
        urls = {
            "response_url": f"{base}/requests/{request_id}",
            "status_url": f"{base}/requests/{request_id}/status",
            "cancel_url": f"{base}/requests/{request_id}/cancel",
        }
        self._json(200, {"request_id": request_id, "queue_position": 2, **urls})

    def _queued(self) -> Queued:
        parts = self.path.partition("?")[0].split("/")
        return self.providers.queue[parts[parts.index("requests") + 1]]

    def _status(self, way: str) -> None:
        queued = self._queued()
        queued.looks += 1
        if way == "wait" or queued.looks == 1:
            self._json(202, {"status": "IN_QUEUE", "queue_position": 2})
        elif way == "work" or queued.looks == 2:
            self._json(202, {"status": "IN_PROGRESS", "logs": []})
        else:
            done = {"status": "COMPLETED", "logs": [], "metrics": {}}
            if way == "failed":
                done |= {"error": "went wrong", "error_type": "internal_error"}
            self._json(200, done)

    def _fal_result(self, way: str) -> Any:
        base = f"https://localhost:{self.providers.https_port}/files"
        urls = {
            "ok": "data:image/png;base64," + base64.b64encode(PICTURE).decode(),
            "url": f"{base}/ok",
            "elsewhere": f"{base}/elsewhere",
            "inside": "http://169.254.169.254/latest/meta-data",
            "lost": f"{base}/lost",
        }
        if way == "nothing":
            return {"images": []}
        if way == "one":
            return {"image": {"url": urls["ok"]}}
        answer = {"images": [{"url": urls.get(way, urls["ok"])}], "seed": 7}
        return answer | ({"has_nsfw_concepts": [True]} if way == "nsfw" else {})

    # What all say

    def _file(self, name: str) -> None:
        if name == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name == "ok":
            self._bytes(200, "image/png", PICTURE, {})
        else:
            self._json(404, {})

    def _echo(self, seen: Seen) -> str:
        return f"Incorrect API key provided: {seen.key}. {seen.headers.as_string()}"

    def _json(self, status: int, value: Any) -> None:
        self._bytes(status, "application/json", json.dumps(value).encode(), {})

    def _bytes(
        self, status: int, kind: str, content: bytes, extra: dict[str, str]
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **extra, **self._later}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


GOOGLE_LATER = {
    "@type": "type.googleapis.com/google.rpc.RetryInfo",
    "retryDelay": f"{LATER_S}.0s",
}
GOOGLE_ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "bad_key": (
        400,
        {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
    ),
    "invalid": (400, {"status": "INVALID_ARGUMENT"}),
    "forbidden": (403, {"status": "PERMISSION_DENIED"}),
    "gone": (404, {"status": "NOT_FOUND"}),
    "quota": (429, {"status": "RESOURCE_EXHAUSTED"}),
    "later": (429, {"status": "RESOURCE_EXHAUSTED", "details": [GOOGLE_LATER]}),
    "down": (503, {"status": "UNAVAILABLE"}),
}
OPENAI_ERRORS = {
    "bad_key": (401, "invalid_api_key"),
    "invalid": (400, "invalid_value"),
    "blocked": (400, "moderation_blocked"),
    "no_credit": (429, "insufficient_quota"),
    "quota": (429, "rate_limit_exceeded"),
    "later": (429, "rate_limit_exceeded"),
    "gone": (404, "model_not_found"),
    "down": (500, "server_error"),
}
STABILITY_ERRORS = {
    "bad_key": (401, "unauthorized"),
    "no_credit": (402, "payment_required"),
    "blocked": (403, "content_moderation"),
    "invalid": (400, "bad_request"),
    "gone": (404, "not_found"),
    "quota": (429, "rate_limit_exceeded"),
    "later": (429, "rate_limit_exceeded"),
    "down": (500, "internal_error"),
}
FAL_ERRORS = {
    "bad_key": (401, "unauthorized"),
    "blocked": (422, "content_policy_violation"),
    "invalid": (422, "value_error"),
    "gone": (404, "not_found"),
    "quota": (429, "rate_limited"),
    "later": (429, "rate_limited"),
    "down": (503, "unavailable"),
}


def _google_answer(way: str) -> Any:
    if way == "blocked_prompt":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    if way == "nothing":
        return {}
    ends = {
        "blocked": "IMAGE_SAFETY",
        "no_image": "NO_IMAGE",
        "cut_short": "MAX_TOKENS",
        "account": "PUP_LIMITED_DISABLED",
    }
    if way in ends:
        return {"candidates": [{"finishReason": ends[way]}]}
    parts: list[Any] = [{"text": "Here you are."}]
    if way != "words":
        thought, shown = picture("red"), PICTURE
        if way == "damaged":
            shown = PICTURE[:60]
        parts = [{"thought": True, **_inline(thought)}, *parts, _inline(shown)]
    content = {"role": "model", "parts": parts}
    return {"candidates": [{"content": content, "finishReason": "STOP"}]}


def _inline(content: bytes) -> dict[str, Any]:
    data = base64.b64encode(content).decode()
    return {"inlineData": {"mimeType": "image/png", "data": data}}


def _asked_number(seen: Seen) -> int:
    if seen.body[:1] == b"{":
        return int(seen.json.get("n", 1))
    field = seen.body.partition(b'name="n"\r\n\r\n')[2]
    return int(field.partition(b"\r\n")[0] or 1)


def _key(headers: Message) -> str:
    for name in ("x-goog-api-key", "Authorization"):
        if value := headers.get(name):
            return str(value).removeprefix("Bearer ").removeprefix("Key ")
    return ""


@contextmanager
def serving(folder: Path) -> Iterator[Providers]:
    """Both servers, and the certificate to trust as `folder`/ca.pem."""
    providers = Providers()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    plain = _server(providers, secure=False)
    secure = _server(providers, secure=True)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    providers.http_port = plain.server_address[1]
    providers.https_port = secure.server_address[1]
    threads = [threading.Thread(target=s.serve_forever) for s in (plain, secure)]
    for thread in threads:
        thread.start()
    try:
        yield providers
    finally:
        providers.go_on.set()
        for server, thread in zip((plain, secure), threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """A client that went away, which is what some tests want."""


def _server(providers: Providers, *, secure: bool) -> _Server:
    attributes = {"providers": providers, "secure": secure}
    handler = type("Handler", (_Handler,), attributes)
    return _Server(("127.0.0.1", 0), handler)


def until(look: Any, within_s: float = 20) -> None:
    """Wait until it is so."""
    end = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.02)
