"""What leaves through the guard, and how much of the answer comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpu_worker import fetch
from gpu_worker.fetch import FetchFailed, Posted, UrlNotAllowed
from tests.gpu_worker.test_fetch_guard import TEXTS
from tests.jobs.webhooks import receiving
from tests.jobs.webhooks.receiving import Receiver, receiver, status


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as receiving_one:
        yield receiving_one


def post(url: str, *, limit_bytes: int = 1000, seconds: float = 2) -> Posted:
    return fetch.post(
        url,
        headers={"Content-Type": "application/json"},
        body=b"{}",
        limit_bytes=limit_bytes,
        timeout_s=seconds,
        allowed_hosts=["127.0.0.1"],
    )


def test_post_is_sent_as_it_is(here: Receiver) -> None:
    here.behave = status(202, b"ok", Retry_After="7")
    assert post(here.url) == Posted(status=202, retry_after="7", body=b"ok")
    [hook] = here.hooks
    assert (hook.path, hook.body) == ("/hook", b"{}")
    assert hook.headers["content-type"] == "application/json"
    assert hook.headers["host"] == f"127.0.0.1:{here.port}"


def test_answer_is_read_to_its_limit(here: Receiver) -> None:
    here.behave = receiving.endless
    assert len(post(here.url, limit_bytes=100_001).body) == 100_001


def test_redirect_is_an_answer_like_any_other(here: Receiver) -> None:
    here.behave = status(308, b"", Location=here.url)
    assert post(here.url).status == 308
    assert len(here.hooks) == 1


def test_body_that_breaks_off_leaves_the_status(here: Receiver) -> None:
    here.behave = status(200, b"part", Content_Length="100")
    assert post(here.url, seconds=0.5).status == 200


def test_receiver_that_hangs_is_given_up(here: Receiver) -> None:
    here.behave = receiving.hang(1)
    with pytest.raises(FetchFailed):
        post(here.url, seconds=0.2)


@pytest.mark.parametrize("url", TEXTS, ids=ascii)
def test_hostile_text_is_posted_nowhere(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        fetch.post(url, headers={}, body=b"", limit_bytes=10, timeout_s=1)
