"""A real server that speaks S3 and checks its signatures: rclone's, over a folder."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from nijika.local.servers import free_port, tail

ACCESS_KEY, SECRET_KEY = "nijika-tests", "the secret of the tests"


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve `folder`, whose folders are buckets. Gives the endpoint's URL."""
    binary = Path(sys.executable).with_name("rclone")
    address, log = f"127.0.0.1:{free_port()}", folder.with_suffix(".log")
    command = [str(binary), "serve", "s3", str(folder), "--addr", address]
    environment = os.environ | {
        "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"',
        "RCLONE_CONFIG": os.devnull,
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_answers(f"http://{address}", server, log)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def in_use(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have the platform keep its files in a folder of a new bucket."""
    (folder / "bucket").mkdir()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with serve(folder) as endpoint:
        settings.STORAGE_URL, settings.S3_ENDPOINT_URL = "s3://bucket/deep", endpoint
        yield


def _wait_until_it_answers(
    url: str, server: subprocess.Popen[bytes], log: Path
) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError as refusal:  # it wants a signature: it is up
            refusal.close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"rclone did not start:\n{tail(log)}") from None
            time.sleep(0.05)
