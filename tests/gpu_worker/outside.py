"""The outside as the fetch tests see it: recorders, and servers on loopback."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TLS = Path(__file__).parent / "tls"


class Recorder:
    """A resolver and a connector that write down and connect to nothing."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): found for name, found in names.items()}
        self.asked: list[str] = []
        self.reached: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self.names[host]

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.reached.append((address, port))
        raise ConnectionRefusedError


Script = Callable[[socket.socket], None]


@dataclass
class Server:
    """What one loopback server was asked."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)


@contextmanager
def server(*scripts: Script, tls: bool = False) -> Iterator[Server]:
    """Answer one connection per script, in order."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Server(port=listener.getsockname()[1])
        listener.settimeout(5)
        arguments = (listener, running, scripts, tls)
        thread = threading.Thread(target=_serve, args=arguments)
        thread.start()
        try:
            yield running
        finally:
            # A server that nobody called must not wait for ever.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(
    listener: socket.socket, running: Server, scripts: tuple[Script, ...], tls: bool
) -> None:
    for script in scripts:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            with _secured(connection, running) if tls else connection as talk:
                talk.settimeout(5)
                running.requests.append(_head(talk))
                script(talk)
        except OSError:
            pass  # the client went away, which is what many tests want


def _secured(connection: socket.socket, running: Server) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    context.sni_callback = lambda _, name, __: running.server_names.append(name)
    try:
        return context.wrap_socket(connection, server_side=True)
    except OSError:
        connection.close()
        raise


def _head(talk: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        part = talk.recv(4096)
        if not part:
            break
        head += part
    return head


def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(TLS / "certificate.pem"))


def reply(body: bytes = b"picture", status: str = "200 OK", **headers: str) -> Script:
    """A whole answer; header names are given with underscores."""
    lines = {"Content_Length": str(len(body)), "Content_Type": "image/png"} | headers
    head = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in lines.items() if v)
    return raw(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def redirect(location: str, status: str = "302 Found") -> Script:
    return reply(b"", status, Location=location)


def raw(answer: bytes) -> Script:
    return lambda talk: talk.sendall(answer)
