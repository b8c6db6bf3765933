"""Where the guard lets nobody go. No test here opens a connection at all."""

import re
import threading
import time
from typing import Any

import pytest

from gpu_worker import fetch as guard
from gpu_worker.fetch import FetchFailed, Network, UrlNotAllowed, check_text, host_of
from tests.gpu_worker.outside import Recorder, redirect, server

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

CLOSED_4 = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.0.1.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.0.192",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]

CLOSED_6 = [
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
]

SCHEMES = [
    "",
    "example.com/a.png",
    "//example.com/a.png",
    "/etc/passwd",
    "file:///etc/passwd",
    "ftp://example.com/a.png",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:6379/info",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "ws://example.com/",
    "jar:http://example.com/!/a.png",
    "httpx://example.com/",
    "http:example.com/a.png",
    "http:/127.0.0.1/a.png",
    "http:///127.0.0.1/a.png",
    "http://",
    "https://?a=b",
]

USERINFO = [
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://@example.com/",
    "http://:@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1:80\\@example.com:80/",
    "http://example.com%40127.0.0.1/",
    "http://a@b@127.0.0.1/",
]

PORTS = [
    "http://example.com:22/",
    "http://example.com:6379/",
    "http://example.com:8080/",
    "https://example.com:8443/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:65616/",
    "http://example.com:4294967376/",
    "http://example.com:-80/",
    "http://example.com:+80/",
    "http://example.com:80x/",
    "http://example.com:0x50/",
    "http://example.com:\uff18\uff10/",
    "http://example.com:80:80/",
]

SPELLINGS = [
    "http://127.0.0.1./",
    "http://127.1/",
    "http://127.0.1/",
    "http://10.1/",
    "http://0/",
    "http://0x0/",
    "http://2130706433/",
    "http://134744072/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://017700000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://0177.0.0.01/",
    "http://127.0.0.01/",
    "http://127.0.0.0x1/",
    "http://8.8.8/",
    "http://8.8.8.8.8/",
    "http://256.256.256.256/",
    "http://169.254.43518/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://127\u30020\u30020\u30021/",
    "http://127\uff0e0\uff0e0\uff0e1/",
    "http://\u2488\u24ea.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://127.0.0.1%2f.example.com/",
    "http://example.com\u2100.evil.com/",
]

MALFORMED = [
    " http://example.com/",
    "http://example.com/\r\nHost: internal",
    "http://example.com/a b",
    "http://exa\tmple.com/",
    "http://example.com\n/",
    "http://127.0.0.1\x00.example.com/",
    "http://example..com/",
    "http://.example.com/",
    "http://*.example.com/",
    "http://exa$mple.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 127 + "com/",
    "http://example.com/" + "a" * 9000,
    "http://example.com/\ud800",
    "http://exa\ud800mple.com/",
    "http://[::1/",
    "http://::1/",
    "http://[::1]evil.com/",
    "http://evil.com[::1]/",
    "http://[127.0.0.1]/",
    "http://[v1.a]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[]/",
]

TEXTS = (
    SCHEMES
    + USERINFO
    + PORTS
    + SPELLINGS
    + MALFORMED
    + [f"http://{address}/a.png" for address in CLOSED_4]
    + [f"https://{address}:80/a.png" for address in CLOSED_4[:4]]
    + [f"http://[{address}]/a.png" for address in CLOSED_6]
)


@pytest.fixture
def outside() -> Recorder:
    return Recorder()


def fetch(url: str, outside: Recorder, **options: Any) -> list[bytes]:
    got: list[bytes] = []
    network = Network(resolve=outside.resolve, connect=outside.connect)
    options = {"limit_bytes": 1000, "timeout_s": 5, "network": network} | options
    guard.fetch(url, sink=got.append, **options)
    return got


def test_table_of_hostile_texts_is_long_enough() -> None:
    assert len(set(TEXTS)) >= 80


@pytest.mark.parametrize("url", TEXTS, ids=ascii)
def test_text_that_is_hostile_is_refused_and_reaches_nothing(
    url: str, outside: Recorder
) -> None:
    with pytest.raises(UrlNotAllowed) as refusal:
        check_text(url)
    with pytest.raises(UrlNotAllowed) as later:
        fetch(url, outside)
    assert (outside.asked, outside.reached) == ([], [])
    assert str(refusal.value) == str(later.value) == "This address is not allowed."


@pytest.mark.parametrize("address", CLOSED_4 + CLOSED_6)
def test_name_with_a_closed_address_is_refused_before_connecting(address: str) -> None:
    outside = Recorder(images_test=[address])
    with pytest.raises(UrlNotAllowed):
        fetch("https://images.test/a.png", outside)
    assert (outside.asked, outside.reached) == (["images.test"], [])


@pytest.mark.parametrize(
    "found",
    [
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC, PUBLIC_6, "64:ff9b::a00:1"],
        ["fe80::1%eth0"],
        ["not an address"],
        ["0x7f.1"],
    ],
)
def test_name_with_any_address_that_is_not_public_is_refused(found: list[str]) -> None:
    outside = Recorder(images_test=found)
    with pytest.raises(UrlNotAllowed):
        fetch("http://images.test/", outside)
    assert outside.reached == []


def test_name_that_changes_its_answer_is_asked_once_and_reached_as_checked() -> None:
    outside = Recorder(images_test=[PUBLIC])
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    outside.resolve = lambda host, port: next(answers)  # type: ignore[method-assign]
    with pytest.raises(FetchFailed):
        fetch("http://images.test/", outside)
    assert outside.reached == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("http://images.test/a.png", (PUBLIC, 80)),
        ("https://images.test/a.png", (PUBLIC, 443)),
        ("HTTPS://IMAGES.TEST./a.png?x=1#y", (PUBLIC, 443)),
        ("http://images.test:443/", (PUBLIC, 443)),
        ("http://images.test:/", (PUBLIC, 80)),
        ("http://images.test", (PUBLIC, 80)),
        (f"http://{PUBLIC}/", (PUBLIC, 80)),
        (f"http://[{PUBLIC_6}]/", (PUBLIC_6, 80)),
        ("http://b\u00fccher.test/", (PUBLIC, 80)),
    ],
    ids=ascii,
)
def test_url_that_is_public_is_reached_at_its_address(
    url: str, reached: tuple[str, int]
) -> None:
    outside = Recorder(images_test=[PUBLIC])
    outside.names["xn--bcher-kva.test"] = [PUBLIC]
    check_text(url)
    with pytest.raises(FetchFailed):
        fetch(url, outside)
    assert outside.reached == [reached]


def test_name_with_several_public_addresses_is_tried_at_each() -> None:
    outside = Recorder(images_test=[PUBLIC, PUBLIC_6])
    with pytest.raises(FetchFailed) as failure:
        fetch("http://images.test/", outside)
    assert outside.reached == [(PUBLIC, 80), (PUBLIC_6, 80)]
    assert failure.value.retryable


def test_name_that_nobody_knows_is_a_failed_fetch(outside: Recorder) -> None:
    check_text("http://nowhere.test/")
    with pytest.raises(FetchFailed):
        fetch("http://nowhere.test/", outside)


def test_name_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    outside, answered = Recorder(), threading.Event()
    outside.resolve = lambda host, port: [str(answered.wait(5))]  # type: ignore
    monkeypatch.setattr(guard, "NAME_TIMEOUT_S", 0.1)
    started = time.monotonic()
    with pytest.raises(FetchFailed):
        fetch("http://images.test/", outside)
    answered.set()
    assert time.monotonic() - started < 1


def test_names_that_hang_cannot_take_more_than_their_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "_lookups", threading.BoundedSemaphore(1))
    monkeypatch.setattr(guard, "NAME_TIMEOUT_S", 0.1)
    outside, answered = Recorder(), threading.Event()
    outside.resolve = lambda host, port: [str(answered.wait(5))]  # type: ignore
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(FetchFailed):
            fetch("http://images.test/", outside)
    assert threading.active_count() <= before + 1
    answered.set()
    assert guard._lookups.acquire(timeout=5)  # the thread gives its place back


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "//10.0.0.1/",
        "http://inner.test/",
        "http://user@images.test/",
        "http://images.test:6379/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://localhost/",
    ],
)
def test_redirect_to_a_closed_place_is_refused_and_reaches_nothing(
    location: str,
) -> None:
    outside = Recorder(inner_test=["10.0.0.1"], localhost=["127.0.0.1"])
    with server(redirect(location)) as running:
        outside.names["images.test"] = ["127.0.0.1"]
        network = Network(
            resolve=outside.resolve,
            connect=lambda address, port, s: (
                guard.connect(address, port, s)
                if port == running.port
                else outside.connect(address, port, s)
            ),
        )
        with pytest.raises(UrlNotAllowed):
            fetch(
                f"http://images.test:{running.port}/",
                outside,
                allowed_hosts=[f"images.test:{running.port}"],
                network=network,
            )
    assert outside.reached == []


@pytest.mark.parametrize(
    ("url", "allowed", "is_allowed"),
    [
        ("http://127.0.0.1:9000/", ["127.0.0.1:9000"], True),
        ("http://127.0.0.1:9000/", ["127.0.0.1"], True),
        ("http://127.0.0.1:9001/", ["127.0.0.1:9000"], False),
        ("http://127.0.0.1/", ["127.0.0.1:9000"], False),
        ("http://127.0.0.1/", ["127.0.0.1:80"], True),
        ("http://127.1:9000/", ["127.0.0.1:9000"], False),
        ("http://[::1]:9000/", ["[::1]:9000"], True),
        ("http://[::1]:9000/", ["[::1]"], True),
        ("http://[0:0::1]:9000/", ["::1"], True),
        ("http://[::1]:9001/", ["[::1]:9000"], False),
        ("http://MINIO:9000/", [" Minio "], True),
        ("http://evil.minio:9000/", ["minio"], False),
        ("http://minio.evil:9000/", ["minio"], False),
        ("http://user@minio:9000/", ["minio"], False),
        ("ftp://minio:9000/", ["minio"], False),
    ],
)
def test_allowed_hosts_exempt_exactly_what_they_name(
    url: str, allowed: list[str], is_allowed: bool
) -> None:
    outside = Recorder(minio=["10.0.0.9"])
    with pytest.raises(FetchFailed if is_allowed else UrlNotAllowed):
        fetch(url, outside, allowed_hosts=allowed)
    assert bool(outside.reached) is is_allowed


def test_host_of_a_url_is_its_plain_form() -> None:
    assert host_of("https://B\u00dcCHER.test.:443/") == "xn--bcher-kva.test"
    assert host_of("http://[0:0::1]:9000/", ["::1"]) == "::1"


def test_refusals_never_name_the_place() -> None:
    outside = Recorder(inner_test=["10.0.0.1"])
    with pytest.raises(UrlNotAllowed) as refusal:
        fetch("http://inner.test/", outside)
    assert not re.search(r"10\.|inner", str(refusal.value))
