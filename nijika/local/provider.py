"""A provider that stands in for GitHub and GitLab: it speaks their OAuth.

For developers, who choose who they are on a page, and for tests, which say it
beforehand and may break it. It keeps the protocol's rules as the real ones do: state is
given back, a code is good once, for ten minutes, for its client, its address and its
verifier; GitHub says no with status 200, GitLab with 400.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from nijika.local import people
from nijika.local.people import Person

CLIENT = ("development", "development")
CODE_LASTS_S = 600
Fields = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a code or a token stands for."""

    person: Person
    provider: str
    fields: Fields
    made_at: float = field(default_factory=time.time)


class Provider:
    """Runs as a context manager, on a free port of this machine.

    `chosen` answers the question at once, `denies` says no to it; `broken` are paths
    that answer 500, `answers` are other answers of paths, `asked` what was asked. While
    `answering` is not set, who wants a token waits.
    """

    def __init__(self, *, port: int = 0, local_user: str = "you@example.org") -> None:
        self.chosen: Person | None = None
        self.denies = False
        self.broken: set[str] = set()
        self.answers: dict[str, Any] = {}
        self.answering = threading.Event()
        self.answering.set()
        self.asked: list[tuple[str, Fields]] = []
        self.people: dict[str, Person] = {}
        self._local_user = local_user
        self._grants: dict[str, Grant] = {}  # of codes, then of tokens
        handler = type("Handler", (_Handler,), {"site": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Provider:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def offer(self) -> Sequence[Person]:
        """The people to choose from; each is remembered for when it is chosen."""
        offered = people.to_choose_from(self._local_user)
        self.people |= {one.login: one for one in offered}
        return offered

    def give(self, person: Person, provider: str, fields: Fields) -> str:
        """A code for this person's consent."""
        return self._keep(Grant(person=person, provider=provider, fields=fields))

    def exchange(self, provider: str, sent: Fields) -> Fields | str:
        """A token for a code, or the protocol's word for what is wrong with it."""
        if (sent.get("client_id"), sent.get("client_secret")) != CLIENT:
            return "incorrect_client_credentials"
        grant = self._grants.pop(sent.get("code", ""), None)
        if grant is None or not _fits(grant, provider, sent):
            return "bad_verification_code" if provider == "github" else "invalid_grant"
        token = self._keep(
            Grant(person=grant.person, provider=provider, fields=grant.fields)
        )
        scope = grant.fields.get("scope", "")
        return {"access_token": token, "token_type": "bearer", "scope": scope}

    def holder(self, token: str, provider: str) -> Grant | None:
        grant = self._grants.get(token)
        return grant if grant and grant.provider == provider else None

    def _keep(self, grant: Grant) -> str:
        word = secrets.token_urlsafe(24)
        self._grants[word] = grant
        return word


def _fits(grant: Grant, provider: str, sent: Fields) -> bool:
    digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return (
        grant.provider == provider
        and time.time() - grant.made_at < CODE_LASTS_S
        and sent.get("grant_type") == "authorization_code"
        and sent.get("redirect_uri") == grant.fields["redirect_uri"]
        and challenge == grant.fields.get("code_challenge", challenge)
    )


PATHS = {
    "/login/oauth/authorize": ("github", "authorize"),
    "/login/oauth/access_token": ("github", "token"),
    "/api/v3/user": ("github", "user"),
    "/api/v3/user/emails": ("github", "emails"),
    "/oauth/authorize": ("gitlab", "authorize"),
    "/oauth/token": ("gitlab", "token"),
    "/api/v4/user": ("gitlab", "user"),
}
NAMES = {"github": "GitHub", "gitlab": "GitLab"}


class _Handler(BaseHTTPRequestHandler):
    site: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve(dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self._serve(
            dict(parse_qsl(self.rfile.read(size).decode(), keep_blank_values=True))
        )

    def log_message(self, format: str, *values: Any) -> None:
        """Nothing: who runs it reads other things."""

    def _serve(self, fields: Fields) -> None:
        path = urlsplit(self.path).path
        self.site.asked.append((path, fields))
        if path in self.site.broken:
            self._answer(500, {"message": "something broke, here is a secret"})
        elif path in self.site.answers:
            self._answer(200, self.site.answers[path])
        elif path not in PATHS:
            self._answer(404, {"message": "Not Found"})
        else:
            provider, what = PATHS[path]
            getattr(self, f"_{what}")(provider, fields)

    def _authorize(self, provider: str, fields: Fields) -> None:
        known = fields.get("client_id") == CLIENT[0] and "redirect_uri" in fields
        if not known or fields.get("response_type", "code") != "code":
            self._answer(404, {"message": "no such application"})
        elif self.command == "POST":
            self._decide(
                provider, fields, self.site.people.get(fields.get("login", ""))
            )
        elif self.site.chosen or self.site.denies:
            self._decide(provider, fields, self.site.chosen)
        else:
            page = people.page(self.site.offer(), fields, NAMES[provider])
            self._send(200, page.encode(), "text/html; charset=utf-8")

    def _decide(self, provider: str, fields: Fields, person: Person | None) -> None:
        if person is None or self.site.denies:
            said = {"error": "access_denied", "error_description": "The user said no."}
        else:
            said = {"code": self.site.give(person, provider, fields)}
        back = urlencode(said | {"state": fields.get("state", "")})
        self._send(302, b"", "text/plain", f"{fields['redirect_uri']}?{back}")

    def _token(self, provider: str, fields: Fields) -> None:
        self.site.answering.wait(10)
        given = self.site.exchange(provider, fields)
        if isinstance(given, str):
            status = 200 if provider == "github" else 400
            self._answer(status, {"error": given, "error_description": "No."})
        elif provider == "github" and "json" not in self.headers.get("Accept", ""):
            self._send(200, urlencode(given).encode(), FORM)
        else:
            self._answer(200, given)

    def _user(self, provider: str, fields: Fields) -> None:
        grant = self._grant(provider)
        if grant is None:
            self._answer(401, {"message": "Bad credentials"})
        elif provider == "github":
            self._answer(200, grant.person.as_github())
        else:
            self._answer(200, grant.person.as_gitlab())

    def _emails(self, provider: str, fields: Fields) -> None:
        grant = self._grant(provider)
        if grant is None or "user:email" not in grant.fields.get("scope", "").split():
            self._answer(404, {"message": "Not Found"})
        else:
            self._answer(200, grant.person.emails_as_github())

    def _grant(self, provider: str) -> Grant | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return self.site.holder(token, provider) if scheme == "Bearer" else None

    def _answer(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)


FORM = "application/x-www-form-urlencoded"
