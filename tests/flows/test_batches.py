"""Files sent by themselves and many jobs at once, on real processes, to one archive."""

from __future__ import annotations

import base64
import io
import json
import os
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from tests.flows.house import House, eventually

TIGER = Path(__file__).parents[1] / "data" / "photos" / "animal_white_tiger.jpg"
JSON = {"Content-Type": "application/json"}


def post(home: House, path: str, body: Any, **headers: str) -> Any:
    content = json.dumps(body).encode()
    return home.call("POST", f"/api/v1/{path}", body=content, headers=JSON | headers)


def announce(home: House, size_bytes: int) -> Any:
    body = {"content_type": "image/jpeg", "size_bytes": size_bytes}
    answer = post(home, "uploads", body)
    assert answer.status == 201, answer.body
    return answer.body


def put(url: str, content: bytes, content_type: str = "image/jpeg") -> tuple[int, Any]:
    """As a browser would, without any key."""
    head = {"Content-Type": content_type}
    request = urllib.request.Request(url, data=content, headers=head, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def completed(home: House, batch_id: str, *, within_s: float = 60) -> Any:
    def look() -> Any:
        home.supervise()
        batch = home.call("GET", f"/api/v1/batches/{batch_id}").body
        return batch if batch["status"] == "completed" else None

    return eventually(look, within_s=within_s)


def large_photo() -> bytes:
    """Over a megabyte: more than the front reads for somebody without a key."""
    out = io.BytesIO()
    Image.frombytes("RGB", (1200, 900), os.urandom(3_240_000)).save(
        out, "JPEG", quality=95
    )
    assert out.tell() > 1_100_000
    return out.getvalue()


def test_upload_becomes_the_image_of_many_jobs_and_one_archive(home: House) -> None:
    photo = large_photo()
    upload = announce(home, len(photo))
    assert put(upload["send"]["url"], photo)[0] == 200
    small = {"width": 40, "format": "png"}
    item = {"operation": "resize", "image": upload["reference"], "parameters": small}
    before = home.account()["credits"]["available"]

    answer = post(home, "batches", {"items": [item] * 2})

    assert answer.status == 202, answer.body
    batch = completed(home, answer.body["id"])
    assert (batch["counts"]["succeeded"], batch["charged"]) == (2, "0.0020")
    after = home.account()["credits"]["available"]
    assert round(float(before) - float(after), 4) == 0.002
    results = home.call("GET", batch["urls"]["results"])
    archive = zipfile.ZipFile(io.BytesIO(results.body))
    assert archive.testzip() is None
    assert archive.namelist() == ["0000-resize.png", "0001-resize.png", "batch.json"]
    with Image.open(archive.open("0001-resize.png")) as picture:
        assert picture.size == (40, 30)


def test_front_reads_no_more_than_an_address_allows(home: House) -> None:
    photo = TIGER.read_bytes()
    upload = announce(home, len(photo))
    url = upload["send"]["url"]
    other = url.replace("signature=", "signature=x")

    longer, bare, changed, short = (
        put(url, photo + b"x" * 2_000_000),
        put(url.split("?")[0], b"x" * 2_000_000),
        put(other, b"x" * 2_000_000),
        put(other, b"x"),
    )

    assert (longer[0], longer[1]["code"]) == (413, "payload_too_large")
    for refused in (bare, changed, short):
        assert (refused[0], refused[1]["code"]) == (403, "forbidden")
    assert put(url, photo, "image/png")[0] == 422
    assert put(url, photo)[0] == 200


def test_batch_whose_answer_is_lost_is_paid_once(home: House) -> None:
    """The web is killed while clients wait for the answer; they all ask again."""
    key = home.new_user(credits="1")
    item = {
        "operation": "resize",
        "image": "data:image/jpeg;base64," + _base64(TIGER),
        "parameters": {"width": 10},
    }
    body = json.dumps({"items": [item] * 40}).encode()
    headers = JSON | {"Idempotency-Key": "catalogue"}

    def send() -> Any:
        def once() -> Any:
            answer = home.call(
                "POST", "/api/v1/batches", key=key, body=body, headers=headers
            )
            return answer if answer.status == 202 else None

        return eventually(once, within_s=60)

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(send) for _ in range(4)]
        time.sleep(0.15)
        home.kill("web")
        home.supervise()
        made = [one.result(90).body for one in sent]

    assert len({one["id"] for one in made}) == 1

    def ended() -> Any:
        home.supervise()
        path = f"/api/v1/batches/{made[0]['id']}"
        batch = home.call("GET", path, key=key).body
        return batch if batch["status"] == "completed" else None

    batch = eventually(ended, within_s=60)
    assert (batch["counts"]["succeeded"], batch["charged"]) == (40, "0.0400")
    credits = home.account(key=key)["credits"]
    assert credits == {"available": "0.9600", "held": "0.0000"}


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_control_says_that_a_batch_is_completed(home: House) -> None:
    item = {"operation": "resize", "parameters": {"width": 9}}
    refused = post(home, "batches", {"items": [item | {"image": "http://10.0.0.1/"}]})
    assert refused.status == 422
    body = {"items": [item | {"image": "https://nijika.invalid/x.png"}] * 2}
    batch = post(home, "batches", body).body

    cancelled = post(home, f"batches/{batch['id']}/cancel", {}).body

    assert cancelled["status"] == "completed"
    query = "SELECT completed_at FROM jobs_batch WHERE id = %s"
    eventually(lambda: home.sql(query, batch["id"])[0][0], within_s=10)
