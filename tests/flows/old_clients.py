"""The clients of the systems that nijika replaces, as they speak HTTP."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.flows.house import Answer, House

PHOTOS = Path(__file__).resolve().parents[1] / "data" / "photos"
Files = Sequence[tuple[str, bytes]]


def photo(name: str = "car_concept_with_person.jpg", side_px: int = 320) -> bytes:
    """A real photo, made small."""
    with Image.open(PHOTOS / name) as image:
        image.thumbnail((side_px, side_px))
        return encoded(image, "JPEG")


def spot_mask(size: tuple[int, int], *, share: float = 0.25) -> bytes:
    """White in the middle, black around."""
    mask = Image.new("L", size, 0)
    width, height = (round(side * share) for side in size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    mask.paste(255, (left, top, left + width, top + height))
    return encoded(mask, "PNG")


def encoded(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def opened(data: bytes | str) -> Image.Image:
    """The image, of bytes or of base64."""
    content = base64.b64decode(data) if isinstance(data, str) else data
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class OldClient:
    """Somebody with a key in `X-API-Key`, as the oldest of them send it."""

    def __init__(self, house: House, key: str) -> None:
        self.house = house
        self.key = key

    def get(self, path: str, **headers: str) -> Answer:
        return self._send("GET", path, None, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return self._send(
            "POST", path, content, {"Content-Type": "application/json"} | headers
        )

    def form(
        self, path: str, files: Files = (), *, headers: Any = None, **fields: str
    ) -> Answer:
        body, kind = form(files, fields)
        return self._send("POST", path, body, {"Content-Type": kind} | (headers or {}))

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        sent = {"X-API-Key": self.key, "Authorization": ""} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.house.call(method, path, body=body, headers=sent, timeout_s=60)


def form(files: Files, fields: Mapping[str, str]) -> tuple[bytes, str]:
    """A multipart form as curl writes it."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, value in fields.items():
        head = f'Content-Disposition: form-data; name="{name}"'
        body += f"--{boundary}\r\n{head}\r\n\r\n{value}\r\n".encode()
    for name, data in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"'
        kind = "Content-Type: image/jpeg"
        body += f"--{boundary}\r\n{head}\r\n{kind}\r\n\r\n".encode() + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
