"""The one way to read from an address that somebody else chose. Standard library only.

- http and https on ports 80 and 443, no userinfo, no odd spellings of an address.
- A name is resolved once; *every* address that it has must be public, and the
  connection goes to one of the checked addresses, so that a second answer of the name
  server changes nothing. TLS and the Host header still speak of the name.
- A redirect is a new address: everything is checked again, at most three times.
- One deadline covers names, connecting, redirects and the last byte; a cap on bytes
  holds while reading, for what the server says about the length is only a claim.
- No proxies, no cookies, no credentials, no compressed bodies.
- `allowed_hosts` exempts exactly a `host` or `host:port` from the rules about addresses
  and ports, and from no other.

What is refused says nothing about why, so that nobody can look around inside with it.
"""

import functools
import http.client
import io
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import cast
from urllib.parse import quote, urljoin, urlsplit

from gpu_worker import addresses
from gpu_worker.addresses import Address
from gpu_worker.errors import WorkerError

PORTS = {"http": 80, "https": 443}
NAME_TIMEOUT_S = 5.0
MAX_REDIRECTS = 3
MAX_URL_LENGTH = 8192
MAX_ADDRESSES = 4
# More than webhooks and fetches may have at once: names that hang keep nobody waiting.
MAX_LOOKUPS = 500
CHUNK_BYTES = 65536
BEFOREHAND = {102, 103}
REDIRECTS = {301, 302, 303, 307, 308}
PASSING = {408, 425, 429, 500, 502, 503, 504}

Resolver = Callable[[str, int], Collection[str]]
"""The addresses of a name, as text. Raises OSError."""
Connector = Callable[[str, int, float], socket.socket]
"""A connection to an address and port within some seconds. Raises OSError."""


class UrlNotAllowed(WorkerError):
    """This address is not allowed."""

    code = "url_not_allowed"


class FetchFailed(WorkerError):
    """The file could not be fetched."""

    code = "fetch_failed"

    def __init__(self, message: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came: the last address of all redirects, and what its server said."""

    url: str
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What the receiver of a POST answered: `body` is how its body begins."""

    status: int
    retry_after: str
    body: bytes


def resolve(host: str, port: int) -> list[str]:
    """The system's answer, IPv4 and IPv6."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection to exactly this address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection


@functools.cache
def trust() -> ssl.SSLContext:
    """The certificates that this machine trusts, names checked."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How the outside is reached; tests put recorders here."""

    resolve: Resolver = resolve
    connect: Connector = connect
    trust: Callable[[], ssl.SSLContext] = trust


INTERNET = Network()


def fetch(
    url: str,
    *,
    limit_bytes: int,
    timeout_s: float,
    sink: Callable[[bytes], object],
    allowed_hosts: Collection[str] = (),
    network: Network = INTERNET,
) -> Fetched:
    """Read the file at `url` into `sink`, chunk by chunk.

    Raises UrlNotAllowed for a place that must not be reached, also by a redirect, and
    FetchFailed for all else; what `sink` got by then is to be thrown away.
    """
    deadline = _Deadline(timeout_s)
    cap = _Cap(limit_bytes)
    target = _target(url, allowed_hosts)
    for _ in range(MAX_REDIRECTS + 1):
        with _exchange(target, _GET, deadline, cap, network) as answer:
            if answer.location is None:
                return _receive(answer, target, cap, sink)
            target = _target(urljoin(target.url, answer.location), allowed_hosts)
    raise FetchFailed("There are too many redirects.")


def post(
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    limit_bytes: int,
    timeout_s: float,
    allowed_hosts: Collection[str] = (),
    network: Network = INTERNET,
) -> Posted:
    """Send `body` to `url`, once; no redirect is followed.

    The answer counts when its head is read. Of its body come `limit_bytes` at most, and
    less where it breaks off or the time is up. Raises UrlNotAllowed for a place that
    must not be reached, and FetchFailed where there is no answer in time.
    """
    deadline = _Deadline(timeout_s)
    target = _target(url, allowed_hosts)
    length = {"Content-Length": str(len(body))}
    request = _Request(method="POST", headers={**headers, **length}, body=body)
    with _exchange(target, request, deadline, _Cap(limit_bytes), network) as answer:
        return Posted(
            status=answer.status,
            retry_after=answer.header("Retry-After"),
            body=answer.beginning(limit_bytes),
        )


def check_text(url: str, allowed_hosts: Collection[str] = ()) -> None:
    """Raises UrlNotAllowed for what the text alone shows; asks nobody.

    That is the scheme, userinfo, the port and a literal address.
    """
    target = _target(url, allowed_hosts)
    if target.address is not None:
        _check(target, [target.address])


def host_of(url: str, allowed_hosts: Collection[str] = ()) -> str:
    """The plain form of a URL's host. Raises UrlNotAllowed for one that has none."""
    return _target(url, allowed_hosts).host


# What the text says


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """A place in its one plain form. `address` is set where the text has one."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    address: Address | None
    exempt: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@\\%]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PLAIN = "!$&'()*+,/:;=?@[]~%"


def _target(url: str, allowed_hosts: Collection[str]) -> _Target:
    try:
        return _parsed(url, allowed_hosts)
    except ValueError as error:
        raise UrlNotAllowed from error


def _parsed(url: str, allowed_hosts: Collection[str]) -> _Target:
    if len(url) > MAX_URL_LENGTH or any(c <= " " or c == "\x7f" for c in url):
        raise ValueError("too long, or with blanks")
    parts = urlsplit(url)
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if parts.scheme not in PORTS or authority is None:
        raise ValueError("no plain http address")
    host, address = _host(authority[1])
    port = int(authority[2] or PORTS[parts.scheme])
    exempt = _is_exempt(host, port, allowed_hosts)
    if not exempt and port not in PORTS.values():
        raise ValueError("another port")
    return _Target(
        url=url,
        scheme=parts.scheme,
        host=host,
        port=port,
        path=quote(parts.path or "/", safe=_PLAIN)
        + ("?" + quote(parts.query, safe=_PLAIN) if parts.query else ""),
        address=address,
        exempt=exempt,
    )


def _host(text: str) -> tuple[str, Address | None]:
    """The host as the name system knows it, and the address if it is one."""
    if text.startswith("["):
        address: Address = IPv6Address(text[1:-1])
        return str(address), address
    # The codec folds full-width digits, circled ones and other dots, as clients do.
    name = text if text.isascii() else text.encode("idna").decode("ascii")
    name = name.lower().removesuffix(".")
    if len(name) > 253 or _NAME.fullmatch(name) is None:
        raise ValueError("no name of a host")
    # Resolvers read 127.1, 0x7f.1 or 2130706433 as addresses; none is a plain one.
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        address = IPv4Address(name)
        return name, address
    return name, None


def _is_exempt(host: str, port: int, allowed_hosts: Collection[str]) -> bool:
    if not allowed_hosts:
        return False
    bracketed = f"[{host}]" if ":" in host else host
    forms = {host, bracketed, f"{bracketed}:{port}"}
    return any(allowed.strip().lower() in forms for allowed in allowed_hosts)


# Where it leads


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than none. Raises FetchFailed."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise FetchFailed("The server took too long.", retryable=True)
        return left


def _reach(target: _Target, deadline: _Deadline, network: Network) -> socket.socket:
    """A connection to one of the target's addresses, all of which were checked."""
    found = _addresses(target, deadline, network)
    _check(target, found)
    for address in found[:MAX_ADDRESSES]:
        # An address that swallows packets must leave time for the next.
        patience = deadline.left() / min(len(found), MAX_ADDRESSES)
        try:
            return network.connect(str(address), target.port, patience)
        except OSError:
            continue
    deadline.left()
    raise FetchFailed("The server could not be reached.", retryable=True)


def _check(target: _Target, found: Collection[Address]) -> None:
    """One closed address among them is enough to refuse: names can lie by turns."""
    if target.exempt or all(addresses.is_public(address) for address in found):
        return
    raise UrlNotAllowed


def _addresses(target: _Target, deadline: _Deadline, network: Network) -> list[Address]:
    if target.address is not None:
        return [target.address]
    texts = _look_up(target, deadline, network)
    try:
        return [addresses.read(text) for text in texts]
    except ValueError as error:
        raise UrlNotAllowed from error


_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)


def _look_up(target: _Target, deadline: _Deadline, network: Network) -> Collection[str]:
    """Ask for the name in a thread: nothing can interrupt the system's resolver."""
    answer: queue.SimpleQueue[Collection[str]] = queue.SimpleQueue()
    patience = min(NAME_TIMEOUT_S, deadline.left())
    ends_at = time.monotonic() + patience
    too_slow = FetchFailed("The server's name took too long.", retryable=True)
    places = _lookups
    if not places.acquire(timeout=patience):
        raise too_slow
    arguments = (target, network.resolve, answer, places)
    threading.Thread(target=_answer, args=arguments, daemon=True).start()
    try:
        found = answer.get(timeout=max(ends_at - time.monotonic(), 0))
    except queue.Empty:
        raise too_slow from None
    if not found:
        raise FetchFailed("The server's name is not known.", retryable=True)
    return found


def _answer(
    target: _Target,
    resolve: Resolver,
    answer: "queue.SimpleQueue[Collection[str]]",
    places: threading.Semaphore,
) -> None:
    try:
        answer.put(resolve(target.host, target.port))
    except (OSError, UnicodeError):
        answer.put(())
    finally:
        places.release()


# What is said


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self, target: _Target) -> bytes:
        headers = {
            "Host": target.authority,
            "User-Agent": "nijika",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **self.headers,
        }
        lines = [f"{self.method} {target.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


_GET = _Request(method="GET")


class _Cap:
    """How much may come. What surrounds the body is counted too, more generously."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._wire_bytes_left = 2 * limit_bytes + 1_000_000

    def check(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            raise FetchFailed(f"The file is larger than {self.limit_bytes} bytes.")

    def spend(self, count: int) -> None:
        self._wire_bytes_left -= count
        if self._wire_bytes_left < 0:
            self.check(self.limit_bytes + 1)


class _Wire(io.RawIOBase):
    """A connection whose every read keeps to the deadline and the cap."""

    def __init__(
        self, connection: socket.socket, deadline: _Deadline, cap: _Cap
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self._cap = cap
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self._cap.spend(count)
        self.ended = count == 0
        return count

    def send(self, payload: bytes) -> None:
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(payload)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` asks of a socket."""
        return io.BufferedReader(self, CHUNK_BYTES)

    def close(self) -> None:
        self._connection.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """One that hears what servers say beforehand (RFC 9110, 15.2), early hints for
    instance. The standard library knows of 100 alone."""

    def begin(self) -> None:
        super().begin()
        while self.status in BEFOREHAND:
            self.headers = self.msg = None  # type: ignore[assignment]  # to begin anew
            super().begin()


class _Answer:
    """A response whose head is read."""

    def __init__(self, response: http.client.HTTPResponse, wire: _Wire) -> None:
        self._response = response
        self._wire = wire
        self.status = response.status

    def __enter__(self) -> "_Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._wire.close()

    def header(self, name: str) -> str:
        return self._response.getheader(name, "").strip()

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as text in UTF-8."""
        location = self._response.getheader("Location")
        if self.status not in REDIRECTS or location is None:
            return None
        return location.encode("latin-1", "replace").decode("utf-8", "replace")

    @property
    def announced_bytes(self) -> int:
        """What the server says is to come; 0 when it says nothing."""
        return self._response.length or 0

    def beginning(self, limit_bytes: int) -> bytes:
        """As much of the body as comes, at most so much. Raises nothing."""
        begun = bytearray()
        with suppress(FetchFailed), _reported():
            while len(begun) < limit_bytes:
                part = self._response.read1(limit_bytes - len(begun))
                if not part:
                    break
                begun += part
        return bytes(begun)

    def chunks(self) -> Iterator[bytes]:
        """The body. Raises FetchFailed if it is cut short."""
        with _reported():
            while chunk := self._response.read(CHUNK_BYTES):
                yield chunk
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)


@contextmanager
def _reported() -> Iterator[None]:
    """What a server can do wrong, as one error."""
    try:
        yield
    except TimeoutError as error:
        raise FetchFailed("The server took too long.", retryable=True) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed("The transfer broke off.", retryable=True) from error


def _exchange(
    target: _Target,
    request: _Request,
    deadline: _Deadline,
    cap: _Cap,
    network: Network,
) -> _Answer:
    """Say `request` to the target and read the head of the answer."""
    connection = _reach(target, deadline, network)
    try:
        with _reported():
            if target.scheme == "https":
                connection = _secured(connection, target, deadline, network)
            wire = _Wire(connection, deadline, cap)
            wire.send(request.encode(target))
            response = _Response(cast(socket.socket, wire), method=request.method)
            response.begin()
            # For http.client a head that breaks off is a head.
            if wire.ended:
                raise http.client.IncompleteRead(b"")
    except BaseException:
        connection.close()
        raise
    return _Answer(response, wire)


def _secured(
    connection: socket.socket, target: _Target, deadline: _Deadline, network: Network
) -> ssl.SSLSocket:
    connection.settimeout(deadline.left())
    return network.trust().wrap_socket(
        connection, server_hostname=target.host, suppress_ragged_eofs=False
    )


def _receive(
    answer: _Answer, target: _Target, cap: _Cap, sink: Callable[[bytes], object]
) -> Fetched:
    if answer.status != 200:
        raise FetchFailed(
            f"The server answered with status {answer.status}.",
            retryable=answer.status in PASSING,
        )
    _check_coding(answer)
    cap.check(answer.announced_bytes)
    size_bytes = 0
    for chunk in answer.chunks():
        size_bytes += len(chunk)
        cap.check(size_bytes)
        sink(chunk)
    return Fetched(
        url=target.url,
        content_type=answer.header("Content-Type"),
        size_bytes=size_bytes,
    )


def _check_coding(answer: _Answer) -> None:
    """A small compressed body can hold a large one; we asked for neither."""
    content = answer.header("Content-Encoding").lower()
    transfer = answer.header("Transfer-Encoding").lower()
    if content not in {"", "identity"} or transfer not in {"", "chunked"}:
        raise FetchFailed("The server sent the file compressed.")
