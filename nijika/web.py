"""`python -m nijika.web`: the web server, one process on `NIJIKA_HOST:NIJIKA_PORT`.

granian runs inside this process and its event loop, so that signals are ours: SIGTERM
and SIGINT stop the listening, let running requests end, and end the process within
`STOP_S` whatever hangs. (Run by its own command it has sometimes ignored SIGTERM.)
The loop is uvloop's: a submit costs the process 580 µs of CPU, with asyncio's own 630.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any, Protocol

import uvloop
from django.core.exceptions import ImproperlyConfigured
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

STOP_S = 6.0
BACKLOG = 1024
OPEN_CONNECTIONS = 4096
"""Beyond these, connections wait in the kernel. An idle one costs a few kilobytes."""
IDLE_MS = 60_000
SWITCH_S = 0.02
"""A thread that computes keeps the interpreter for so long while others want it.

Few requests compute for even a tenth of this before they wait for something and let go
by themselves; taking it from them earlier (Python's own 5 ms) makes each thread pay for
cold caches and for lost races: 0.9 ms of CPU for a submit instead of 0.76, and a sixth
fewer of them.
"""

GARBAGE_AFTER = 10_000
"""So many new objects that may form cycles, and the collector looks for those.

Python's own 700 are the objects of a few requests. What is there when the server starts
stays, so it is never looked at again. Together a twentieth of a submit's CPU.
"""


class Service(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


def main() -> str | None:
    """Serve until a signal, which ends the process. What to say before leaving with
    status 1, if something is set so that it cannot."""
    try:
        # Sets Django up, which takes a while.
        from nijika.asgi import application, link_server

        sys.setswitchinterval(SWITCH_S)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)
        uvloop.run(serve(application, link_server()))
    except ImproperlyConfigured as error:
        return str(error)
    return None


async def serve(application: Any, link: Service | None = None) -> None:
    """Serve an ASGI application on the address of the environment until a signal, and
    the link beside it.

    Ends the process.
    """
    host, port = _address()
    server = Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=BACKLOG,
        backpressure=OPEN_CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS),
    )
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server, application, stopped)
    # It says on every start that embedding is experimental, and each lost client.
    logging.getLogger("_granian").setLevel(logging.ERROR)
    if link is not None:
        link = _started(link)
    print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201
    await server.serve()
    if link is not None:
        link.stop()
    _end(0 if stopped.is_set() else 1)


def _started(link: Service) -> Service | None:
    """The link, unless another web process of this host has its port: workers call that
    one, and this serves its clients all the same."""
    try:
        link.start()
    except OSError as error:
        logging.getLogger(__name__).warning("no port of the link's own: %s", error)
        return None
    return link


def _address() -> tuple[str, int]:
    """Where to listen. Raises ImproperlyConfigured."""
    host = os.environ.get("NIJIKA_HOST", "127.0.0.1")
    named = os.environ.get("NIJIKA_PORT", "8000")
    try:
        _refuse_shared_port(host, int(named))
    except (OSError, ValueError, OverflowError) as error:
        text = f"NIJIKA_HOST={host!r}, NIJIKA_PORT={named!r}: {error}"
        raise ImproperlyConfigured(text) from error
    return host, int(named)


def _refuse_shared_port(host: str, port: int) -> None:
    """Raises OSError if somebody listens there: granian would share it silently."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _stop(server: Server, application: Any, stopped: asyncio.Event) -> None:
    if stopped.is_set():
        return
    stopped.set()
    watchdog = threading.Timer(STOP_S, _end, [0])
    watchdog.daemon = True
    watchdog.start()
    application.stop()
    server.stop()  # type: ignore[no-untyped-call]


def _end(status: int) -> None:
    """Leave without Python's own farewell: a thread of granian that still wants the
    interpreter then would abort the process."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
