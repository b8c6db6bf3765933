"""The page: one HTML file beside its pictures, which any browser shows.

What browsers do not show (HEIC, TIFF, JPEG 2000) goes in as a PNG of it; what came out
is shown as it came.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pillow_heif
from PIL import Image, ImageOps

from bench.gallery.shots import Shot

SHOWN = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}
pillow_heif.register_heif_opener()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One job on the page: `before` are (role, file name), `after` file names."""

    shot: Shot
    job: Any
    before: list[tuple[str, str]]
    after: list[str]


def keep(data: bytes, folder: Path, name: str) -> str:
    """Write the picture for a browser; the name of its file."""
    with Image.open(io.BytesIO(data)) as image:
        if image.format in SHOWN:
            path = folder / f"{name}.{SHOWN[image.format]}"
            path.write_bytes(data)
        else:
            path = folder / f"{name}.png"
            ImageOps.exif_transpose(image).convert("RGBA").save(path)
    return path.name


def render(frames: list[Frame]) -> str:
    return _PAGE.substitute(count=len(frames), frames="\n".join(map(_article, frames)))


def _article(frame: Frame) -> str:
    shot, job = frame.shot, frame.job
    asked: dict[str, Any] = {"operation": shot.operation}
    asked |= {"parameters": shot.parameters} if shot.parameters else {}
    asked |= {"then": shot.then} if shot.then else {}
    pictures = [_figure(name, role) for role, name in frame.before]
    pictures += [_figure(name, "result") for name in frame.after]
    return _ARTICLE.substitute(
        title=escape(shot.title),
        state=escape(job.get("status", "")),
        pictures="".join(pictures),
        asked=escape(json.dumps(asked, ensure_ascii=False)),
        told=escape(_told(job)),
    )


def _figure(name: str, caption: str) -> str:
    kind = "after" if caption == "result" else "before"
    return (
        f'<figure class="{kind}"><a href="{escape(name)}">'
        f'<img loading="lazy" src="{escape(name)}" alt="{escape(caption)}"></a>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _told(job: Any) -> str:
    if job.get("error"):
        return json.dumps(job["error"])
    files = [
        f"{one['content_type']} {one['width_px']} x {one['height_px']},"
        f" {one['size_bytes'] / 1000:.0f} kB"
        + (f" {json.dumps(one['details'])}" if one["details"] else "")
        for one in job["results"]
    ]
    times = job["timings"]
    spent = f"engine {times['engine_ms']} ms, in all {times['total_ms']} ms"
    return f"{job['engine']} · {spent} · {job['charged']} credits · {'; '.join(files)}"


_ARTICLE = Template(
    """<article class="$state"><h2>$title</h2><div class="pictures">$pictures</div>
<p><code>$asked</code></p><p>$told</p></article>"""
)
_PAGE = Template(
    """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>nijika: gallery</title><style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; background: #fafafa; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(460px, 1fr)); }
main { gap: 1rem; }
article { background: white; border: 1px solid #ddd; padding: 1rem; }
article:not(.succeeded) { border: 3px solid #c00; }
h2 { font-size: 1rem; margin: 0 0 .5rem; }
.pictures { display: flex; gap: .5rem; flex-wrap: wrap; align-items: flex-start; }
figure { margin: 0; flex: 1 1 180px; }
figcaption, p { color: #555; margin: .25rem 0; overflow-wrap: anywhere; }
img { max-width: 100%; max-height: 320px; }
.after img { background: repeating-conic-gradient(#ccc 0 25%, #fff 0 50%); }
.after img { background-size: 20px 20px; }
</style><h1>$count pictures</h1><main>
$frames
</main></html>
"""
)
