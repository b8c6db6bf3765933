"""The formats that are read and those that are written."""

from __future__ import annotations

from typing import Literal

Format = Literal["png", "jpeg", "webp", "avif", "gif"]

# What Pillow may open. JPEG stands for MPO too: its decoder notices several pictures
# and takes the first.
FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "JPEG2000", "BMP", "ICO",
)  # fmt: skip
CONTENT_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}
ANIMATED: frozenset[str] = frozenset({"gif", "webp"})
"""The formats in which a result may move."""


def form(name: str | None) -> Format:
    """The format that a client's name means; `jpg` is a jpeg, and no name is png."""
    found: dict[str | None, Format] = {
        None: "png", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp",
        "avif": "avif", "gif": "gif",
    }  # fmt: skip
    return found[name]
