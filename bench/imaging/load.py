"""The clients: a process of its own. Each uploads the photo, waits for the job's end,
and begins anew.

Reads {host, port, key, source, clients, seconds} as JSON from stdin; prints how many
jobs succeeded per second, and in all.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

BOUNDARY = "nijika-bench-imaging"
FIELDS = {"operation": "resize", "width": "800", "format": "jpg", "quality": "80"}


def body(source: Path) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        f"{value}\r\n"
        for name, value in FIELDS.items()
    ]
    parts.append(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; '
        'filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    return (
        "".join(parts).encode() + source.read_bytes() + f"\r\n--{BOUNDARY}--".encode()
    )


def client(load: dict[str, Any], sent: bytes, end: float, done: list[float]) -> None:
    connection = http.client.HTTPConnection(load["host"], load["port"], timeout=120)
    headers = {
        "Authorization": f"Bearer {load['key']}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Prefer": "wait=60",
    }
    while time.monotonic() < end:
        connection.request("POST", "/api/v1/jobs", sent, headers)
        answer = connection.getresponse()
        made = json.loads(answer.read())
        if answer.status != 200 or made["status"] != "succeeded":
            raise SystemExit(f"{answer.status}: {made}")
        done.append(time.monotonic())


def main() -> None:
    load = json.load(sys.stdin)
    sent, done = body(Path(load["source"])), list[float]()
    begun = time.monotonic()
    end = begun + load["seconds"]
    threads = [
        threading.Thread(target=client, args=(load, sent, end, done))
        for _ in range(load["clients"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not done:
        raise SystemExit("no job succeeded")
    print(len(done) / (max(done) - begun), len(done))


if __name__ == "__main__":
    main()
