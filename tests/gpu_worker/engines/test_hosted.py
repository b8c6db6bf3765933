"""How a job goes through a provider, without any: who pays, how often, and when not."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpu_worker import fetch
from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.hosted import circuit, errors, fal_models, pictures, wire
from gpu_worker.engines.hosted.circuit import Circuit, CircuitOpen
from gpu_worker.engines.hosted.driving import Drive
from gpu_worker.engines.hosted.memory import Memory
from gpu_worker.engines.hosted.provider import Account, Made, Ticket, Wish, nearest
from gpu_worker.errors import Stopped, StorageUnavailable, WorkerError

WISH = Wish(
    job_id="1", operation="edit", model="m", prompt="It.", parameters={}, pictures=()
)
MADE = Made(pictures=(b"a picture",))


class Died(BaseException):
    """The worker is killed: nothing of this run is heard any more."""


@dataclass
class Scripted:
    """A provider that does what it is told to, step by step."""

    answers: list[Any]
    looks: list[Any] = field(default_factory=list)
    sent: int = 0
    cancelled: list[str] = field(default_factory=list)
    name: str = "scripted"

    def submit(self, wish: Wish, account: Account, timeout_s: float) -> Any:
        self.sent += 1
        return said(self.answers.pop(0))

    def poll(self, ticket: Ticket, account: Account) -> str | None:
        answer: str | None = said(self.looks.pop(0)) if self.looks else None
        return answer

    def fetch(self, ticket: Ticket, account: Account) -> Made:
        return MADE

    def cancel(self, ticket: Ticket, account: Account) -> None:
        self.cancelled.append(ticket.text)


def said(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer


@dataclass
class Platform:
    """What the platform knows of the job."""

    checkpoint: str | None = None
    is_away: bool = False
    stopped: bool = False
    handed_back: bool = False

    def progress(self, step: int, total: int, message: str) -> None: ...

    def is_stopped(self) -> bool:
        return self.stopped

    def is_handed_back(self) -> bool:
        return self.handed_back

    def keep(self, text: str, *, wait_s: float = 0) -> bool:
        if self.is_away:
            return False
        self.checkpoint = text
        return True


def run(provider: Scripted, platform: Platform) -> list[bytes]:
    """One run of the job, which knows what the platform keeps."""
    drive = Drive(
        provider=provider,
        circuit=Circuit(10),
        wish=WISH,
        account=Account(key="k", own=False),
        memory=Memory.read(platform.checkpoint),
        talk=platform,
    )
    return drive.run()[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_PROVIDER_POLL", "1ms")


def until_it_ends(provider: Scripted, platform: Platform) -> str:
    """Runs as the platform makes them, lost workers included; how it ends."""
    for _ in range(3):
        try:
            run(provider, platform)
            return "succeeded"
        except Died:
            continue
        except WorkerError as error:
            if not error.retryable:
                return error.code
    return "too often"


LOST = errors.ProviderUnavailable(unpaid=False)


@pytest.mark.parametrize(
    ("answers", "end", "sent"),
    [
        ([MADE], "succeeded", 1),
        ([Died(), MADE], "succeeded", 2),
        ([Died(), Died(), MADE], "provider_unavailable", 2),
        ([LOST, Died(), MADE], "provider_unavailable", 2),
        ([errors.ProviderTimeout(), errors.ProviderTimeout(), MADE],
         "provider_timeout", 2),
        ([errors.NoImage(), MADE], "succeeded", 2),
        ([errors.NoImage(), errors.NoImage(), MADE], "no_image", 2),
        ([errors.ProviderAccount(), MADE], "provider_account", 1),
        ([errors.ProviderRateLimited(), errors.ProviderRateLimited(), MADE],
         "succeeded", 3),
        ([Died(), errors.ProviderRateLimited(), MADE], "succeeded", 3),
    ],
)  # fmt: skip
def test_request_that_may_be_paid_is_sent_twice_at_most(
    answers: list[Any], end: str, sent: int
) -> None:
    provider, platform = Scripted(answers), Platform()
    assert until_it_ends(provider, platform) == end
    assert provider.sent == sent


@pytest.mark.parametrize(
    "looks",
    [
        [Died()],
        ["in its queue", Died(), Died()],
        [LOST] * 5,
        [errors.ProviderRateLimited(), Died(), errors.ProviderTimeout()],
    ],
)
def test_queued_request_is_sent_once_whatever_dies(looks: list[Any]) -> None:
    provider, platform = Scripted([Ticket("7")], looks), Platform()
    assert until_it_ends(provider, platform) == "succeeded"
    assert provider.sent == 1


def test_nothing_is_sent_before_the_platform_knows() -> None:
    provider, platform = Scripted([MADE]), Platform(is_away=True)
    with pytest.raises(StorageUnavailable):
        run(provider, platform)
    assert provider.sent == 0


def test_open_circuit_costs_no_repeat() -> None:
    """A run that was let through nowhere does not forget what earlier ones sent."""
    platform = Platform()
    with pytest.raises(Died):
        run(Scripted([Died()]), platform)
    drive = Drive(
        provider=Scripted([]),
        circuit=opened(),
        wish=WISH,
        account=Account(key="k", own=False),
        memory=Memory.read(platform.checkpoint),
        talk=platform,
    )
    with pytest.raises(CircuitOpen):
        drive.run()
    assert Memory.read(platform.checkpoint).sent == 1


def test_cancelled_job_is_cancelled_there_and_one_handed_back_is_not() -> None:
    for handed_back, cancelled in ((False, ["7"]), (True, [])):
        provider = Scripted([Ticket("7")], ["in its queue"] * 9)
        platform = Platform(handed_back=handed_back)
        platform.keep = _stopping(platform)  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            run(provider, platform)
        assert provider.cancelled == cancelled
        assert Memory.read(platform.checkpoint).ticket == "7"


def _stopping(platform: Platform) -> Callable[..., bool]:
    def keep(text: str, *, wait_s: float = 0) -> bool:
        platform.checkpoint = text
        platform.stopped = '"7"' in text
        return True

    return keep


@pytest.mark.parametrize("text", ["", "half way", "[]", '{"sent": "x"}', "null"])
def test_checkpoint_that_is_none_of_ours_counts_as_a_request_sent(text: str) -> None:
    assert Memory.read(text).sent == 1


# The circuit


def opened() -> Circuit:
    found = Circuit(10)
    for _ in range(circuit.FAILURES):
        found.heard(errors.ProviderUnavailable())
    return found


def test_circuit_opens_lets_one_through_and_doubles_its_pause() -> None:
    now = [100.0]
    found = Circuit(10, clock=lambda: now[0])
    for _ in range(circuit.FAILURES):
        found.check()
        found.heard(errors.ProviderTimeout())
    with pytest.raises(CircuitOpen):
        found.check()
    now[0] += 10.1
    assert found.check()
    with pytest.raises(CircuitOpen):
        found.check()
    found.heard(errors.ProviderUnavailable(), trial=True)
    now[0] += 10.1
    with pytest.raises(CircuitOpen):
        found.check()
    now[0] += 10
    found.check()
    found.heard(None)
    found.check()
    found.check()


def test_what_was_under_way_when_the_circuit_opened_lengthens_no_pause() -> None:
    now = [100.0]
    found = Circuit(10, clock=lambda: now[0])
    late = [errors.ProviderTimeout() for _ in range(circuit.FAILURES + 11)]
    for _ in late:
        assert not found.check()
    for error in late:
        found.heard(error)
    assert late[-1].retry_after_s == 10
    now[0] += 10.1
    assert found.check()
    found.heard(errors.ProviderTimeout(), trial=True)
    found.heard(errors.ProviderUnavailable(retry_after_s=60))
    now[0] += 20.1
    with pytest.raises(CircuitOpen):
        found.check()
    now[0] += 40
    assert found.check()


@pytest.mark.parametrize(
    "error",
    [errors.ProviderAccount(), errors.ProviderRateLimited(), errors.Blocked()],
)
def test_trouble_of_one_client_opens_no_circuit(error: errors.HostedError) -> None:
    found = Circuit(10)
    for _ in range(3 * circuit.FAILURES):
        found.check()
        found.heard(error)


def test_whose_quota_is_used_up_waits_alone_and_as_long_as_the_provider_says() -> None:
    now = [100.0]
    found = Circuit(10, clock=lambda: now[0])
    found.heard(errors.ProviderRateLimited(retry_after_s=60), "one")
    found.check("another")
    with pytest.raises(errors.ProviderRateLimited) as refused:
        found.check("one")
    told = refused.value.failure()
    assert told.put_off
    assert 60 <= told.retry_after_s <= 75
    now[0] += 60
    found.check("one")


def test_who_is_not_let_through_is_told_for_how_long() -> None:
    found, last = Circuit(10), errors.ProviderUnavailable()
    for _ in range(circuit.FAILURES - 1):
        found.heard(errors.ProviderUnavailable())
    found.heard(last)
    assert (last.failure().retry_after_s, last.failure().put_off) == (10, False)
    with pytest.raises(CircuitOpen) as refused:
        found.check()
    told = refused.value.failure()
    assert told.put_off
    assert 9 < told.retry_after_s <= 12.5


def test_provider_that_asks_for_more_time_than_the_pause_gets_it() -> None:
    now = [100.0]
    found = Circuit(10, clock=lambda: now[0])
    for _ in range(circuit.FAILURES):
        found.heard(errors.ProviderUnavailable(retry_after_s=40))
    now[0] += 39
    with pytest.raises(CircuitOpen):
        found.check()
    now[0] += 2
    found.check()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "1e9"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({}, 0),
        (None, 0),
    ],
)
def test_wish_of_a_provider_is_read(headers: Any, seconds: float) -> None:
    assert wire.retry_after_s(headers) == seconds


def test_wish_of_a_provider_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 88 < wire.retry_after_s({"Retry-After": then}) <= 90


def test_look_at_a_queue_is_not_repeated_before_the_provider_wants_it() -> None:
    busy = errors.ProviderRateLimited(retry_after_s=0.2)
    provider = Scripted([Ticket("7")], [busy])
    began = time.monotonic()
    run(provider, Platform())
    assert time.monotonic() - began >= 0.2


# Results


@pytest.mark.parametrize("body", ["%%%", "A" * (2 * pictures.LIMIT_BYTES + 4)])
def test_data_url_that_is_no_base64_or_too_large_is_refused(body: str) -> None:
    with pytest.raises(errors.ProviderError):
        pictures.fetched(f"data:image/png;base64,{body}", timeout_s=1)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "http://10.0.0.1/x", "file:///etc/passwd", "x"]
)
def test_result_at_a_private_address_is_not_fetched(url: str) -> None:
    with pytest.raises(errors.ProviderError) as refused:
        pictures.fetched(url, timeout_s=1)
    assert "127" not in str(refused.value)


def test_result_is_fetched_by_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetched(url: str, **rest: Any) -> None:
        asked.append((url, rest["limit_bytes"], rest["allowed_hosts"]))
        rest["sink"](b"content")

    monkeypatch.setattr(fetch, "fetch", fetched)
    assert pictures.fetched("https://example.org/a.png", timeout_s=5) == b"content"
    assert asked == [("https://example.org/a.png", pictures.LIMIT_BYTES, [])]


def test_nearest_proportions() -> None:
    ratios = {"1:1": 1.0, "16:9": 16 / 9, "9:16": 9 / 16}
    sizes = [(1024, 1000), (1920, 1000), (500, 1000)]
    assert [nearest(ratios, size) for size in sizes] == ["1:1", "16:9", "9:16"]


def test_pictures_go_out_upright_small_and_without_what_they_say_of_themselves(
    tmp_path: Path,
) -> None:
    photo = Image.effect_noise((3000, 1500), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    photo.save(tmp_path / "photo", "JPEG", exif=exif)
    noise = Image.effect_noise((1500, 1500), 90)
    Image.merge("RGBA", [noise] * 4).save(tmp_path / "cutout", "PNG")
    mask = Image.new("L", (30, 15), 255)
    mask.save(tmp_path / "mask", "PNG")
    inputs = tuple(
        Input(role=role, path=tmp_path / name)
        for role, name in (("image", "photo"), ("image", "cutout"), ("mask", "mask"))
    )
    item = Item(job_id="1", parameters={}, inputs=inputs)
    arrays = pictures.prepared(item, holes=True)
    first, second = pictures.files_of(arrays, "picture_")
    assert [pictures.type_of(one) for one in (first, second)] == [
        "image/jpeg",
        "image/webp",
    ]
    assert Image.open(io.BytesIO(first)).size == (1024, 2048)
    assert b"taken at home" not in first
    [hole] = pictures.files_of(arrays, "mask_")
    opened_hole = Image.open(io.BytesIO(hole))
    assert opened_hole.size == (1024, 2048)
    assert opened_hole.getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize(
    ("path", "argument"),
    [
        ("fal-ai/qwen-image-edit/lora", "image_url"),
        ("fal-ai/flux-kontext/dev-lora", "image_url"),
        ("fal-ai/flux/dev/image-to-image", "image_url"),
        ("fal-ai/qwen-image-edit-plus", "image_urls"),
        ("fal-ai/qwen-image-edit-2509", "image_urls"),
        ("fal-ai/flux-pro/kontext/max/multi", "image_urls"),
    ],
)
def test_path_that_is_not_in_the_table_gets_its_pictures_as_its_likes_do(
    path: str, argument: str
) -> None:
    assert fal_models.model_of("edit", path).pictures == argument
