"""The examples of docs/, run as they are printed against a running stack.

Only what a reader would put there is put there: their pictures, their addresses, the
id of a job of theirs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nijika.local.servers import free_port
from tests.flows.house import ROOT, House, eventually
from tests.jobs.webhooks.receiving import Receiver, receiver

PHOTO = ROOT / "nijika/local/photos/lemur.jpg"
HEIC = ROOT / "tests/data/formats/heic_iphone_12mp.heic"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def block(page: str, language: str, part: str) -> str:
    [one] = [body for body in blocks(page, language) if part in body]
    return one


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as receiving_one:
        yield receiving_one


@pytest.fixture
def desk(home: House, tmp_path: Path) -> Path:
    """The folder in which a reader tries the examples."""
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    shutil.copy(HEIC, tmp_path / "photo.heic")
    # An answer that is an error then fails curl, and with it the example.
    (tmp_path / ".curlrc").write_text("fail-with-body\n")
    return tmp_path


def run(home: House, desk: Path, *command: str, **settings: str) -> str:
    """What the program prints; it must end well."""
    done = subprocess.run(
        command,
        cwd=desk,
        env=environment(home, desk) | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def environment(home: House, desk: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "CURL_HOME": str(desk),
        "NIJIKA_URL": home.stack.url,
        "NIJIKA_API_KEY": home.stack.key,
    }


def python(home: House, desk: Path, text: str) -> str:
    return run(home, desk, sys.executable, "-W", "error", "-c", text)


SHELL = [
    "batches.md",
    "image-operations.md",
    "keys.md",
    "operations.md",
    "pipelines.md",
    "resize-crop-encode.md",
    "sandbox.md",
    "uploads.md",
    "waiting.md",
]


@pytest.mark.skipif(not shutil.which("jq"), reason="needs curl and jq")
def test_shell_examples_are_taken(home: House, desk: Path) -> None:
    job_id = home.accepted("resize", PHOTO, width=64)
    home.end_of(job_id)
    test_key = home.stack.manage("create_key", "you@example.org", "--test")
    for page in SHELL:
        text = "".join(blocks(page, "sh")).replace("nj_test_…", test_key)
        text = re.sub(r"https://example.com/\w+.jpg", f"job:{job_id}/input", text)
        text = re.sub(r"(job|upload):0192…", f"job:{job_id}", text)
        run(home, desk, "bash", "-euo", "pipefail", "-c", text, ID=job_id)


def test_python_examples_do_what_their_pages_say(
    home: House, desk: Path, here: Receiver
) -> None:
    job_id = home.accepted("resize", PHOTO, width=64)

    text = block("uploads.md", "python", "requests") + "print(job['status'])"
    assert python(home, desk, text) == "succeeded\n"

    text = block("batches.md", "python", "requests")
    text = re.sub(r"https://example.com/\d.jpg", f"job:{job_id}/input", text)
    assert "'succeeded': 2" in python(home, desk, text)
    assert (desk / "all.zip").read_bytes().startswith(b"PK")

    text = block("events.md", "python", "requests").replace("0192…", job_id)
    assert python(home, desk, text).splitlines()[-1].startswith("succeeded")

    text = block("keys.md", "python", "requests")
    assert python(home, desk, text).startswith("nj_test_")

    text = block("webhooks.md", "python", "webhook-endpoints")
    text = text.replace("https://example.com/nijika", here.url)
    assert python(home, desk, text).startswith("ping ")
    eventually(lambda: here.hooks or None, within_s=20)


def test_python_client_sent_twice_is_one_job_that_is_paid_once(
    home: House, desk: Path
) -> None:
    text = block("clients.md", "python", "def submit")
    text = text.replace("order-17", os.urandom(8).hex())
    said = python(home, desk, text)
    assert python(home, desk, text) == said
    job_id, *end = said.split()
    assert end == ["succeeded", "0.0100"]
    assert [kind for kind, _ in home.entries(job_id)] == ["hold", "settle"]
    assert (desk / "photo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_javascript_client_downloads_a_cut_out(home: House, desk: Path) -> None:
    text = block("clients.md", "js", "async function submit")
    (desk / "client.mjs").write_text(text.replace("order-17", os.urandom(8).hex()))
    assert run(home, desk, "node", "client.mjs").endswith(" succeeded 0.0100\n")
    assert (desk / "photo.png").read_bytes().startswith(b"\x89PNG")


def test_python_receiver_takes_our_webhooks_and_refuses_a_stranger(
    home: House, desk: Path
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    forged = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,A"}
    with receiving(home, desk, url) as program:
        refused = eventually(
            lambda: home.call("POST", url, body=b"{}", headers=forged), within_s=20
        )
        job_id = accepted_with_webhook(home, url)
        assert refused.status == 401
        assert program.stdout is not None
        assert program.stdout.readline() == f"job.succeeded {job_id}\n"


@contextmanager
def receiving(home: House, desk: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """The receiver of the page, at `url`, with the secret of the account."""
    secret = home.call("GET", "/api/v1/webhook-secret").body["secret"]
    text = block("clients.md", "python", "class Receiver")
    told = {"WEBHOOK_SECRET": secret, "PORT": url.rpartition(":")[2]}
    with subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment(home, desk) | told,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def accepted_with_webhook(home: House, url: str) -> str:
    source = home.accepted("resize", PHOTO, width=64)
    order = {"operation": "encode", "image": f"job:{source}/input", "webhook_url": url}
    answer = home.call(
        "POST",
        "/api/v1/jobs",
        body=json.dumps(order).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 202, answer.body
    job_id: str = answer.body["id"]
    return job_id


TRY_IT = """
import { readFileSync } from "node:fs";
import { verified } from "./webhook.mjs";

const { secret, headers } = JSON.parse(readFileSync("hook.json"));
const body = readFileSync("body");
console.log(verified(secret, headers, body).type);
headers["webhook-id"] += "1";
try { verified(secret, headers, body); } catch (error) { console.log(error.message); }
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_javascript_verifies_what_we_send_and_nothing_else(
    home: House, desk: Path, here: Receiver
) -> None:
    accepted_with_webhook(home, here.url)
    [hook] = eventually(lambda: here.hooks[-1:] or None, within_s=20)
    secret = home.call("GET", "/api/v1/webhook-secret").body["secret"]
    headers = {name.lower(): value for name, value in hook.headers.items()}
    told = {"secret": secret, "headers": headers}
    (desk / "hook.json").write_text(json.dumps(told))
    (desk / "body").write_bytes(hook.body)
    (desk / "webhook.mjs").write_text(block("clients.md", "js", "timingSafeEqual"))
    (desk / "try.mjs").write_text(TRY_IT)
    said = run(home, desk, "node", "try.mjs")
    assert said == "job.succeeded\nnot signed with this secret\n"
