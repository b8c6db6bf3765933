"""URL inputs: fetched from a real server on loopback, stored, and then runnable."""

from __future__ import annotations

import hashlib
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from accounts.models import User
from billing import ledger
from jobs import lifecycle, retention, sources
from jobs.models import Engine, Fetch, Job
from jobs.sources import Fetcher
from jobs.storage import store
from tests.jobs.queueing import within
from tests.jobs.submitting import locked
from tests.jobs.working import check_books, submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)


def png(width_px: int = 2000, height_px: int = 1000) -> bytes:
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
    )


class Site(ThreadingHTTPServer):
    """A foreign server: `/photo` is one, `/flaky` answers at the second try."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.asked: Counter[str] = Counter()
        self.now = 0
        self.most = 0
        self.slow_s = 0.0
        self.counting = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        with site.counting:
            site.asked[self.path] += 1
            site.now += 1
            site.most = max(site.most, site.now)
        time.sleep(site.slow_s)
        with site.counting:
            site.now -= 1
        status, body = self.answer(site.asked[self.path])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "http://127.0.0.2/inside")
        self.end_headers()
        self.wfile.write(body)

    def answer(self, times: int) -> tuple[int, bytes]:
        match self.path.split("?")[0]:
            case "/photo":
                return 200, png()
            case "/flaky":
                return (200, png()) if times > 1 else (503, b"")
            case "/down":
                return 503, b""
            case "/text":
                return 200, b"no image at all"
            case "/huge":
                return 200, png(30_000, 30_000)
            case "/inside":
                return 302, b""
        return 404, b""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    site = Site()
    threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{site.server_port}"]
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture(autouse=True)
def quick(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    monkeypatch.setattr(sources, "RETRY_AFTER_S", 0.05)


@pytest.fixture
def owner() -> User:
    return user_with("1")


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    fetcher = Fetcher()
    yield fetcher
    fetcher.close()
    within(20, lambda: not any(t.is_alive() for t in fetcher._threads))


def wish(owner: User, *urls: str, count: int = 1) -> list[UUID]:
    inputs = [{"role": "image", "key": "", "url": url} for url in urls]
    return submit(owner, count, inputs=inputs)


def fetched(fetcher: Fetcher, seconds: float = 30) -> bool:
    """Let the fetcher work until nothing is left to fetch."""
    return within(seconds, lambda: (fetcher.turn(), not Fetch.objects.exists())[1])


def ended(job_id: UUID) -> tuple[str, str]:
    job = Job.objects.get(pk=job_id)
    return job.status, (job.error or {}).get("code", "")


def test_url_input_is_fetched_stored_and_described(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/photo"))
    assert Job.objects.get(pk=job_id).waiting_fetches == 1
    assert fetched(fetcher)
    job = Job.objects.get(pk=job_id)
    [file] = job.inputs
    assert (job.status, job.waiting_fetches) == ("queued", 0)
    assert (file["role"], file["url"]) == ("image", site.url("/photo"))
    assert (file["width_px"], file["height_px"]) == (2000, 1000)
    assert (file["content_type"], file["size_bytes"]) == ("image/png", len(png()))
    assert file["sha256"] == hashlib.sha256(png()).hexdigest()
    with store().open(file["key"]) as stored:
        assert stored.read() == png()


def test_two_url_inputs_of_one_job_are_both_kept(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/photo?1"), site.url("/photo?2"))
    assert fetched(fetcher)
    job = Job.objects.get(pk=job_id)
    assert job.waiting_fetches == 0
    assert [one["key"] for one in job.inputs] == [
        f"inputs/{job_id}/0",
        f"inputs/{job_id}/1",
    ]


def test_run_limit_grows_with_the_picture_that_came(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    spec = {"run_limit_s_per_mp": 10}
    Engine.objects.create(operation="resize", name="imaging", queue="cpu", spec=spec)
    [job_id] = wish(owner, site.url("/photo"))
    assert fetched(fetcher)
    assert Job.objects.get(pk=job_id).run_limit_s == pytest.approx(60 + 2 * 10)


@pytest.mark.parametrize(
    ("path", "code", "asked"),
    [
        ("/missing", "fetch_failed", 1),
        ("/down", "fetch_failed", 2),
        ("/text", "invalid_image", 1),
        ("/huge", "invalid_image", 1),
        ("/inside", "url_not_allowed", 1),
    ],
)
def test_input_that_cannot_be_had_fails_the_job_and_costs_nothing(
    site: Site, fetcher: Fetcher, owner: User, path: str, code: str, asked: int
) -> None:
    [job_id] = wish(owner, site.url(path))
    assert fetched(fetcher)
    assert ended(job_id) == ("failed", code)
    assert site.asked[path] == asked
    assert ledger.balance(owner.pk) == (1, 0)
    assert not list(store().list())
    check_books()


def test_place_inside_is_refused_without_asking_it(
    site: Site, fetcher: Fetcher, owner: User, settings: Settings
) -> None:
    settings.FETCH_ALLOWED_HOSTS = []
    [job_id] = wish(owner, site.url("/photo"))
    assert fetched(fetcher)
    assert (ended(job_id), site.asked) == (("failed", "url_not_allowed"), {})


def test_passing_trouble_is_tried_once_more(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/flaky"))
    assert fetched(fetcher)
    assert (ended(job_id)[0], site.asked["/flaky"]) == ("queued", 2)


def test_second_try_has_only_the_time_that_the_first_left(
    site: Site, fetcher: Fetcher, owner: User, settings: Settings
) -> None:
    settings.FETCH_TIMEOUT_S = 1.5
    site.slow_s = 1.0
    [job_id] = wish(owner, site.url("/flaky"))
    assert fetched(fetcher)
    assert (ended(job_id), site.asked["/flaky"]) == (("failed", "fetch_failed"), 2)


def test_server_that_took_all_the_time_is_not_asked_again(
    site: Site, fetcher: Fetcher, owner: User, settings: Settings
) -> None:
    settings.FETCH_TIMEOUT_S = 0.5
    site.slow_s = 1.0
    [job_id] = wish(owner, site.url("/photo"))
    assert fetched(fetcher)
    assert (ended(job_id), site.asked["/photo"]) == (("failed", "fetch_failed"), 1)


def test_one_bad_input_ends_the_job_and_its_other_fetches(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/missing"), site.url("/photo"))
    assert fetched(fetcher)
    assert ended(job_id) == ("failed", "fetch_failed")


def test_store_that_fails_is_tried_again_and_then_fails_the_job(
    site: Site, fetcher: Fetcher, owner: User, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    settings.STORAGE_URL = f"file://{tmp_path}/full"
    (tmp_path / "full" / "inputs").write_text("a file where a folder should be")
    [job_id] = wish(owner, site.url("/photo"))
    assert fetched(fetcher)
    assert ended(job_id) == ("failed", "storage_unavailable")
    assert site.asked["/photo"] == sources.STORE_TRIES


def test_cancelled_job_is_not_fetched_for(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/photo"))
    lifecycle.cancel(job_id, user_id=owner.pk, test=False)
    assert fetcher.turn() == 0
    retention.clean()
    assert (Fetch.objects.count(), site.asked) == (0, {})


def test_cancel_during_the_fetch_leaves_the_job_cancelled(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    site.slow_s = 0.3
    [job_id] = wish(owner, site.url("/photo"))
    fetcher.turn()
    lifecycle.cancel(job_id, user_id=owner.pk, test=False)
    assert fetched(fetcher)
    assert (ended(job_id)[0], Job.objects.get(pk=job_id).inputs[0]["key"]) == (
        "cancelled",
        "",
    )


# Many, and many fetchers


def test_many_urls_of_one_host_go_a_few_at_a_time_over_two_fetchers(
    site: Site, fetcher: Fetcher, owner: User, settings: Settings
) -> None:
    settings.FETCH_PER_USER, settings.FETCH_PER_HOST = 8, 3
    site.slow_s = 0.05
    for user in (owner, user_with("1")):
        for n in range(10):
            wish(user, site.url(f"/photo?{user.pk}.{n}"))
    other = Fetcher()
    assert within(
        40, lambda: (fetcher.turn(), other.turn(), not Fetch.objects.exists())[2]
    )
    other.close()
    assert 1 < site.most <= 3
    assert set(site.asked.values()) == {1}


def test_users_urls_go_a_few_at_a_time_and_leave_room_for_others(
    site: Site, owner: User, settings: Settings
) -> None:
    settings.FETCH_PER_USER, settings.FETCH_PER_HOST = 2, 100
    wish(owner, site.url("/photo"), count=50)
    [other] = wish(user_with("1"), site.url("/photo"))
    errands = sources.claim(10)
    assert len(errands) == 3
    assert other in {errand.job_id for errand in errands}
    assert sources.claim(10) == []


def test_claims_by_two_fetchers_never_give_a_row_twice(
    site: Site, owner: User, settings: Settings
) -> None:
    settings.FETCH_PER_USER = settings.FETCH_PER_HOST = 100
    wish(owner, site.url("/photo"), count=20)
    first, second = sources.claim(15), sources.claim(15)
    assert (len(first), len(second)) == (15, 5)
    assert len({errand.id for errand in (*first, *second)}) == 20


def test_row_of_a_fetcher_that_died_is_claimed_again_and_its_late_word_ignored(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/photo"))
    [lost] = sources.claim(1)
    assert sources.claim(1) == []
    end_lease(lost)
    assert fetched(fetcher)
    sources.run(lost)
    job = Job.objects.get(pk=job_id)
    assert (job.waiting_fetches, job.status) == (0, "queued")


def test_claimer_beside_another_takes_nothing(site: Site, owner: User) -> None:
    wish(owner, site.url("/photo"))
    with locked(sources._ALONE, []):
        assert sources.claim(1) == []
    assert len(sources.claim(1)) == 1


@pytest.mark.parametrize("path", ["/photo", "/missing"])
def test_late_word_of_a_fetcher_whose_row_another_has_is_ignored(
    site: Site, owner: User, path: str
) -> None:
    [job_id] = wish(owner, site.url(path))
    [lost] = sources.claim(1)
    end_lease(lost)
    [current] = sources.claim(1)
    sources.run(lost)
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.waiting_fetches) == ("queued", 1)
    assert [row.claim for row in Fetch.objects.all()] == [current.claim]


def test_row_that_many_fetchers_died_with_fails_its_job(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    [job_id] = wish(owner, site.url("/photo"))
    for _ in range(sources.LOST_TRIES):
        [lost] = sources.claim(1)
        end_lease(lost)
    assert fetched(fetcher)
    assert (ended(job_id), site.asked) == (("failed", "fetch_failed"), {})


def test_fetcher_that_stops_gives_its_rows_back_at_once(
    site: Site, fetcher: Fetcher, owner: User
) -> None:
    site.slow_s = 0.5
    [job_id] = wish(owner, site.url("/photo"))
    stopping = Fetcher()
    stopping.turn()
    stopping.close()
    [errand] = sources.claim(1)
    assert (errand.job_id, errand.tries) == (job_id, 1)
    assert within(20, lambda: not any(t.is_alive() for t in stopping._threads))
    assert Job.objects.get(pk=job_id).waiting_fetches == 1


def end_lease(errand: sources.Errand) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_fetch SET lease_until = clock_timestamp() WHERE id = %s",
            [errand.id],
        )
