"""Real HTTP and HTTPS on loopback, by way of allowed hosts."""

import socket
import time
from typing import Any

import pytest

from gpu_worker import fetch as guard
from gpu_worker.fetch import Fetched, FetchFailed, Network
from tests.gpu_worker.outside import Server, raw, redirect, reply, server, trust

LIMIT_BYTES = 100_000


def to_loopback(host: str, port: int) -> list[str]:
    assert host == "images.test"
    return ["127.0.0.1"]


def url(running: Server, path: str = "/a.png", scheme: str = "http") -> str:
    return f"{scheme}://images.test:{running.port}{path}"


def fetch(address: str, **options: Any) -> tuple[Fetched, bytes]:
    body = bytearray()
    network = Network(resolve=to_loopback, trust=trust)
    options = {"limit_bytes": LIMIT_BYTES, "timeout_s": 5} | options
    fetched = guard.fetch(
        address,
        sink=body.extend,
        allowed_hosts=["images.test"],
        network=network,
        **options,
    )
    return fetched, bytes(body)


def test_fetch_gives_the_bytes_and_what_the_server_said() -> None:
    with server(reply(b"x" * 90_000)) as running:
        fetched, body = fetch(url(running))
    assert body == b"x" * 90_000
    assert fetched == Fetched(
        url=url(running), content_type="image/png", size_bytes=90_000
    )


def test_fetch_asks_for_no_compression_and_sends_no_more_than_needed() -> None:
    with server(reply()) as running:
        fetch(url(running, "/a.png?x=1&y=\u00e4#part"))
    lines = running.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a.png?x=1&y=%C3%A4 HTTP/1.1"
    assert sorted(line for line in lines[1:] if line) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        f"Host: images.test:{running.port}",
        "User-Agent: nijika",
    ]


def test_fetch_over_tls_speaks_of_the_name_at_the_checked_address() -> None:
    with server(reply(), tls=True) as running:
        _, body = fetch(url(running, scheme="https"))
    assert body == b"picture"
    assert running.server_names == ["images.test"]


def test_fetch_over_tls_refuses_a_certificate_of_another_name() -> None:
    with server(reply(), tls=True) as running, pytest.raises(FetchFailed):
        guard.fetch(
            f"https://other.test:{running.port}/",
            limit_bytes=10,
            timeout_s=5,
            sink=print,
            allowed_hosts=["other.test"],
            network=Network(resolve=lambda *_: ["127.0.0.1"], trust=trust),
        )
    assert running.requests == []


def test_fetch_over_tls_refuses_an_unknown_authority() -> None:
    network = Network(resolve=to_loopback)
    with server(reply(), tls=True) as running, pytest.raises(FetchFailed):
        guard.fetch(
            url(running, scheme="https"),
            limit_bytes=10,
            timeout_s=5,
            sink=print,
            allowed_hosts=["images.test"],
            network=network,
        )
    assert running.requests == []


def test_fetch_of_chunks_puts_them_together() -> None:
    chunked = b"4\r\npict\r\n3\r\nure\r\n0\r\n\r\n"
    with server(
        reply(chunked, Content_Length="", Transfer_Encoding="chunked")
    ) as running:
        assert fetch(url(running))[1] == b"picture"


def test_fetch_without_a_length_reads_to_the_end() -> None:
    with server(reply(Content_Length="")) as running:
        assert fetch(url(running))[1] == b"picture"


def test_fetch_hears_out_what_a_server_says_beforehand() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    soon = b"HTTP/1.1 102 Processing\r\n\r\n"

    def answer(talk: socket.socket) -> None:
        talk.sendall(hints)
        raw(soon + hints)(talk)
        reply()(talk)

    with server(answer) as running:
        fetched, body = fetch(url(running))
    assert (body, fetched.content_type) == (b"picture", "image/png")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fetch_follows_a_redirect(status: int) -> None:
    with server(redirect("/b.png", f"{status} Elsewhere"), reply()) as running:
        fetched, body = fetch(url(running))
    assert body == b"picture"
    assert fetched.url == url(running, "/b.png")


def test_fetch_follows_three_redirects_and_not_four() -> None:
    hops = [redirect(f"/{n}") for n in range(3)]
    with server(*hops, reply()) as running:
        assert fetch(url(running))[1] == b"picture"
    four = [*hops, redirect("/again"), reply()]
    with server(*four) as running, pytest.raises(FetchFailed, match="redirects"):
        fetch(url(running))
    assert len(running.requests) == 4


def test_fetch_of_a_redirect_without_target_fails() -> None:
    with server(reply(status="302 Found")) as running, pytest.raises(FetchFailed):
        fetch(url(running))


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        ("404 Not Found", False),
        ("403 Forbidden", False),
        ("204 No Content", False),
        ("206 Partial Content", False),
        ("429 Slow Down", True),
        ("503 Unavailable", True),
    ],
)
def test_fetch_of_another_status_fails(status: str, retryable: bool) -> None:
    with server(reply(status=status)) as running, pytest.raises(FetchFailed) as failed:
        fetch(url(running))
    assert status[:3] in str(failed.value)
    assert failed.value.retryable is retryable


def test_fetch_of_a_file_announced_too_big_reads_none_of_it() -> None:
    announced = str(LIMIT_BYTES + 1)
    with (
        server(reply(Content_Length=announced)) as running,
        pytest.raises(FetchFailed) as failed,
    ):
        fetch(url(running))
    assert "larger" in str(failed.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Length": ""},
        {"Content_Length": "-1"},
        {"Content_Length": "", "Transfer_Encoding": "chunked"},
        {"Content_Length": "5", "Transfer_Encoding": "chunked"},
    ],
)
def test_fetch_of_a_file_that_turns_out_too_big_stops(headers: dict[str, str]) -> None:
    def endless(talk: socket.socket) -> None:
        reply(b"", **headers)(talk)
        while True:
            talk.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    got: list[bytes] = []
    with server(endless) as running, pytest.raises(FetchFailed, match="larger"):
        guard.fetch(
            url(running),
            limit_bytes=LIMIT_BYTES,
            timeout_s=5,
            sink=got.append,
            allowed_hosts=["images.test"],
            network=Network(resolve=to_loopback),
        )
    assert sum(map(len, got)) <= LIMIT_BYTES


@pytest.mark.parametrize("size", [b"-1", b"FFFFFFFFFFFFFFFF"])
def test_fetch_of_a_chunk_of_absurd_size_stays_small(size: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"

    def endless(talk: socket.socket) -> None:
        talk.sendall(head)
        while True:
            talk.sendall(b"x" * 65536)

    with server(endless) as running, pytest.raises(FetchFailed, match="larger"):
        fetch(url(running), timeout_s=1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-FF\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_fetch_of_a_broken_answer_fails(answer: bytes) -> None:
    with server(raw(answer)) as running, pytest.raises(FetchFailed):
        fetch(url(running))


def test_fetch_over_tls_that_ends_without_goodbye_fails() -> None:
    def cut(talk: socket.socket) -> None:
        reply(Content_Length="")(talk)
        talk.shutdown(socket.SHUT_RDWR)

    with server(cut, tls=True) as running, pytest.raises(FetchFailed):
        fetch(url(running, scheme="https"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "identity, br"},
        {"Transfer_Encoding": "gzip, chunked"},
        {"Transfer_Encoding": "gzip"},
    ],
)
def test_fetch_of_compressed_bytes_fails(headers: dict[str, str]) -> None:
    with server(reply(**headers)) as running, pytest.raises(FetchFailed) as failed:
        fetch(url(running))
    assert "compressed" in str(failed.value)


def test_fetch_of_bytes_called_identity_works() -> None:
    with server(reply(Content_Encoding="Identity")) as running:
        assert fetch(url(running))[1] == b"picture"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"
DRIPS = {
    "head": b"HTTP/1.1 200 OK\r\nX-" + b"a" * 300,
    "body": HEAD + b"x" * 300,
    "early answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 12,
}


@pytest.mark.parametrize("drops", DRIPS.values(), ids=DRIPS.keys())
def test_fetch_from_a_slow_drip_ends_at_the_deadline(drops: bytes) -> None:
    def drip(talk: socket.socket) -> None:
        for drop in range(len(drops)):
            talk.sendall(drops[drop : drop + 1])
            time.sleep(0.02)

    started = time.monotonic()
    with server(drip) as running:
        with pytest.raises(FetchFailed, match="too long") as failure:
            fetch(url(running), timeout_s=0.3)
        assert time.monotonic() - started < 1
    assert failure.value.retryable


def test_fetch_from_slow_redirects_ends_at_one_deadline() -> None:
    def slow(talk: socket.socket) -> None:
        time.sleep(0.3)
        redirect("/again")(talk)

    with server(*[slow] * 4) as running, pytest.raises(FetchFailed) as failed:
        fetch(url(running), timeout_s=0.5)
    assert "too long" in str(failed.value)
    assert len(running.requests) <= 2


def test_fetch_over_tls_from_a_silent_server_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(FetchFailed, match="too long"):
            fetch(f"https://images.test:{port}/", timeout_s=0.2)


def test_fetch_whose_sink_is_full_says_so_itself() -> None:
    def full(chunk: bytes) -> None:
        raise OSError("no space left")

    with server(reply()) as running, pytest.raises(OSError, match="no space"):
        guard.fetch(
            url(running),
            limit_bytes=10,
            timeout_s=5,
            sink=full,
            allowed_hosts=["images.test"],
            network=Network(resolve=to_loopback),
        )


def test_fetch_by_the_systems_own_resolver_goes_where_it_is_allowed() -> None:
    body: list[bytes] = []
    with server(reply()) as running:
        place = f"localhost:{running.port}"
        options: Any = {"limit_bytes": 10, "timeout_s": 5, "sink": body.append}
        guard.fetch(f"http://{place}/", allowed_hosts=[place], **options)
        with pytest.raises(guard.UrlNotAllowed):
            guard.fetch("http://localhost/", allowed_hosts=[place], **options)
    assert body == [b"picture"]
