"""A client of the API, as small as the gallery needs."""

from __future__ import annotations

import json
import mimetypes
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from urllib3 import encode_multipart_formdata

from bench.gallery.shots import Shot

ANY = "application/octet-stream"
MOST_WAIT_S = 30


class Refused(Exception):
    """The request was answered with a problem."""

    def __init__(self, problem: Any) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Site:
    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key

    def run(self, shot: Shot, *, within_s: float) -> Any:
        """The job at its end. Raises Refused."""
        fields = {"operation": shot.operation}
        for name in ("parameters", "then", "metadata"):
            if value := getattr(shot, name):
                fields[name] = json.dumps(value)
        body, content_type = _form(fields, shot.files)
        job = self._json("/api/v1/jobs", body, content_type)
        end = time.monotonic() + within_s
        while job["status"] in ("queued", "running") and time.monotonic() < end:
            job = self._json(f"/api/v1/jobs/{job['id']}?wait={MOST_WAIT_S}")
        return job

    def bytes_of(self, result: Any) -> bytes:
        with urllib.request.urlopen(result["url"], timeout=30) as answer:
            content: bytes = answer.read()
            return content

    def _json(
        self, path: str, body: bytes | None = None, content_type: str = ""
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(self._url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)) from None


def _form(fields: dict[str, str], files: dict[str, Path]) -> tuple[bytes, str]:
    """The body, and its content type."""
    pictures = {
        role: (path.name, path.read_bytes(), mimetypes.guess_type(path.name)[0] or ANY)
        for role, path in files.items()
    }
    return encode_multipart_formdata({**fields, **pictures})
