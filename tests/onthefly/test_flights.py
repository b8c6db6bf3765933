"""Many at once: one picture is made once, and never more than may wait."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.flows.house import Answer, House, eventually
from tests.onthefly.conftest import TIGER, Signer, get, image_of
from tests.onthefly.origin import Origin


def together(home: House, urls: list[str]) -> list[Answer]:
    with ThreadPoolExecutor(len(urls)) as threads:
        return list(threads.map(lambda url: get(home, url), urls))


def made_by(home: House, email: str) -> int:
    """How many pictures of the account have been decoded and encoded."""
    time.sleep(2.5)  # the counts are written every two seconds
    [(count,)] = home.sql(
        "SELECT coalesce(sum(made), 0)::int FROM jobs_renditionuse"
        " JOIN accounts_user ON accounts_user.id = user_id WHERE email = %s",
        email,
    )
    return int(count)


def test_hundred_who_ask_for_one_picture_have_it_fetched_and_made_once(
    home: House, owner: Signer, web: Origin
) -> None:
    source = web.url("/popular.jpg", TIGER)
    before = made_by(home, "you@example.org")
    web.delay_s = 0.5
    answers = together(home, [owner.plain("w:210", source, "jpg")] * 100)
    web.delay_s = 0
    assert {image_of(answer).size for answer in answers} == {(210, 140)}
    assert web.asked["/popular.jpg"] == 1
    assert made_by(home, "you@example.org") == before + 1


def test_who_asks_for_too_much_at_once_is_told_to_come_back(
    home: House, owner: Signer, stranger: Signer, web: Origin
) -> None:
    source = web.url("/slow.jpg", TIGER)
    ready = owner.plain("w:70", source, "jpg")
    assert get(home, ready).status == 200
    web.delay_s = 1.0
    urls = [owner.plain(f"w:{width}", source, "jpg") for width in range(100, 160)]
    with ThreadPoolExecutor(60) as threads:
        asked = [threads.submit(get, home, url) for url in urls]
        eventually(lambda: web.asked["/slow.jpg"] > 15 or None, within_s=20)
        hit = get(home, ready)
        other = get(home, stranger.plain("w:70", source, "jpg"))
    web.delay_s = 0
    answers = [one.result() for one in asked]
    refused = [answer for answer in answers if answer.status == 503]
    assert len(refused) == 20, "40 of one account may wait"
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert {a.headers["Cache-Control"] for a in refused} == {"no-store"}
    assert sum(answer.status == 200 for answer in answers) == 40
    assert hit.status == 200, "what is kept is served meanwhile"
    assert other.status == 200, "and another account has its share"


def test_child_that_dies_costs_its_picture_and_no_other(
    home: House, owner: Signer, web: Origin
) -> None:
    source = web.url("/victim.jpg", TIGER)
    image_of(owner.get("w:71", source, "jpg"))
    for pid in children(home.pid("web")):
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(get, home, owner.plain("w:72", source, "jpg"))
        time.sleep(0.5)
        for pid in children(home.pid("web")):
            os.kill(pid, signal.SIGKILL)
        answer = asked.result()
    assert (answer.status, answer.body["code"]) == (500, "engine_failed")
    assert image_of(owner.get("w:72", source, "jpg")).size == (72, 48)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
