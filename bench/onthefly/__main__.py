"""`python -m bench.onthefly`: pictures on the fly beside plain libvips, as ratios.

A JPEG of 12 megapixels becomes one of 800 pixels, quality 80.

    loop    `thumbnail` of libvips from the file, in one process per core, no HTTP
    miss    the same by a signed address, made anew each time, from a `job:` source
    hit     one such address again and again

Rounds are interleaved, so that whatever else the machine does strikes all three; every
figure is the median of its rounds. The CPU time beside it is that of the loop, or of
the web server with its children and PostgreSQL: busy neighbours hardly change it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from urllib3 import encode_multipart_formdata

from bench import stacks
from nijika.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests/data/photos/animal_white_tiger.jpg"
SIZE = 4000, 3000
OPTIONS = "rs:fit:800:0/q:80"
CLIENTS = 8
CORES = os.cpu_count() or 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nijika-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = folder / "source.jpg"
        source.write_bytes(photo())
        with Stack(folder=folder, quiet=True) as stack:
            measure(stack, source, arguments.rounds, arguments.seconds)


def measure(stack: Stack, source: Path, rounds: int, seconds: float) -> None:
    sign = signer(stack)
    job = f"job:{accepted(stack, source)}/input"
    fresh = (sign(f"/{OPTIONS}/cb:{n}/plain/{job}@jpg") for n in itertools.count())
    asked(stack, list(itertools.islice(fresh, 2 * CORES)), seconds=0)
    rates: dict[str, list[float]] = {"loop": [], "miss": [], "hit": []}
    cpu_ms: dict[str, list[float]] = {"loop": [], "miss": [], "hit": []}
    same = [sign(f"/{OPTIONS}/plain/{job}@jpg")]
    asked(stack, same, seconds=0)
    for _ in range(rounds):
        rate, spent_ms = loop(source, seconds)
        rates["loop"].append(rate)
        cpu_ms["loop"].append(spent_ms)
        many = list(itertools.islice(fresh, int(rate * seconds * 4) + 50))
        for name, urls in (("miss", many), ("hit", same)):
            before = cpu_s(stack)
            rates[name].append(asked(stack, urls, seconds=seconds))
            answers = rates[name][-1] * seconds
            cpu_ms[name].append((cpu_s(stack) - before) / answers * 1000)
    show(rates, cpu_ms)


def show(rates: dict[str, list[float]], cpu_ms: dict[str, list[float]]) -> None:
    for name, values in rates.items():
        rate, spent_ms = statistics.median(values), statistics.median(cpu_ms[name])
        print(f"{name:5} {rate:9.1f} per second  {spent_ms:7.2f} ms of CPU each")
    for one, other, goal in (("miss", "loop", 0.9), ("hit", "miss", 20)):
        ratio = _ratio(rates[one], rates[other])
        spent = _ratio(cpu_ms[other], cpu_ms[one])
        print(f"{one} / {other}: {ratio:.2f} (goal {goal}); by CPU time {spent:.2f}")


def _ratio(these: list[float], those: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def cpu_s(stack: Stack) -> float:
    """What the web server, its children and PostgreSQL have used so far."""
    web = stack.supervisor.programs["web"].process
    assert web is not None and stack.postgres is not None
    roots = web.pid, stack.postgres.process.pid
    return sum(stacks.cpu_of(pid) for root in roots for pid in stacks.tree(root))


def photo() -> bytes:
    """A photo of 12 megapixels, with the noise of a camera."""
    image = Image.open(PHOTO).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    noise = np.random.default_rng(1).normal(0, 4, (SIZE[1], SIZE[0], 3))
    noisy = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noisy).save(out, "JPEG", quality=88)
    return out.getvalue()


LOOP = """
import os, sys, time
os.environ["VIPS_CONCURRENCY"] = "1"
import pyvips
pyvips.cache_set_max(0)
path, seconds = sys.argv[1], float(sys.argv[2])
pyvips.Image.thumbnail(path, 800).jpegsave_buffer(Q=80)
print("ready", flush=True)
input()
begun = time.process_time()
end, count = time.monotonic() + seconds, 0
while time.monotonic() < end:
    pyvips.Image.thumbnail(path, 800).jpegsave_buffer(Q=80)
    count += 1
spent = time.process_time()
print(count / (seconds + time.monotonic() - end), (spent - begun) / count * 1000)
"""


def loop(source: Path, seconds: float) -> tuple[float, float]:
    """Pictures per second of all cores together, and milliseconds of CPU for each."""
    command = [sys.executable, "-c", LOOP, str(source), str(seconds)]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        for _ in range(CORES)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    lines = [process.communicate()[0].split() for process in running]
    return sum(float(line[0]) for line in lines), statistics.mean(
        float(line[1]) for line in lines
    )


def asked(stack: Stack, urls: list[str], *, seconds: float) -> float:
    """Answers per second to these addresses, each once if `seconds` is 0."""
    parts = urlsplit(stack.url)
    load = {
        "host": parts.hostname,
        "port": parts.port,
        "paths": [urlsplit(url).path for url in urls],
        "clients": CLIENTS if seconds else 1,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "bench.onthefly.load"]
    done = subprocess.run(
        command, input=json.dumps(load), cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the load failed:\n{done.stderr}")
    return float(done.stdout)


def signer(stack: Stack) -> Callable[[str], str]:
    """Signs a path with the local user's key."""
    text = stack.manage("image_key", "you@example.org")
    values = dict(line.split("=", 1) for line in text.splitlines())
    key, salt = (bytes.fromhex(values[f"IMGPROXY_{n}"]) for n in ("KEY", "SALT"))

    def sign(path: str) -> str:
        digest = hmac.digest(key, salt + path.encode(), hashlib.sha256)
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return f"{values['IMGPROXY_ENDPOINT']}/{signature}{path}"

    return sign


def accepted(stack: Stack, source: Path) -> str:
    """A job whose input is the source, once it has ended."""
    fields: dict[str, str | tuple[str, bytes]] = {
        "operation": "resize",
        "width": "64",
        "image": ("a.jpg", source.read_bytes()),
    }
    made = _call(stack, "/jobs", *encode_multipart_formdata(fields))
    while made["status"] not in ("succeeded", "failed"):
        time.sleep(0.2)
        made = _call(stack, f"/jobs/{made['id']}")
    return str(made["id"])


def _call(
    stack: Stack, path: str, body: bytes | None = None, content_type: str = ""
) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {stack.key}"}
    if body:
        headers["Content-Type"] = content_type
    url = f"{stack.url}/api/v1{path}"
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request) as answer:
        found: dict[str, object] = json.load(answer)
    return found


if __name__ == "__main__":
    main()
