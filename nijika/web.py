"""`python -m nijika.web`: the web server, one process on `NIJIKA_HOST:NIJIKA_PORT`.

SIGTERM and SIGINT stop the listening, let running requests end, and end the process
within `STOP_S` whatever hangs.
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
from typing import Protocol

import uvloop
from django.core.exceptions import ImproperlyConfigured

from nijika.front.connections import Server
from nijika.front.server import Front

STOP_S = 6.0
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


async def serve(front: Front, link: Service | None = None) -> None:
    """Serve the front on the address of the environment until a signal, and the link
    beside it. Ends the process.

    Raises ImproperlyConfigured for what is set so that it cannot.
    """
    listening = _listening()
    if (refusal := await front.open()) is not None:
        raise ImproperlyConfigured(refusal)
    server = Server(front)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server, front)
    if link is not None:
        link = _started(link)
    host, port = listening.getsockname()[:2]
    print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201
    await server.serve([listening])
    if link is not None:
        link.stop()
    front.close()
    _end()


def _started(link: Service) -> Service | None:
    """The link, unless another web process of this host has its port: workers call that
    one, and this serves its clients all the same."""
    try:
        link.start()
    except OSError as error:
        logging.getLogger(__name__).warning("no port of the link's own: %s", error)
        return None
    return link


def _listening() -> socket.socket:
    """Where to listen. Raises ImproperlyConfigured, also if somebody listens there."""
    host = os.environ.get("NIJIKA_HOST", "127.0.0.1")
    port = os.environ.get("NIJIKA_PORT", "8000")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except (OSError, ValueError, OverflowError) as error:
        text = f"NIJIKA_HOST={host!r}, NIJIKA_PORT={port!r}: {error}"
        raise ImproperlyConfigured(text) from error


def _stop(server: Server, front: Front) -> None:
    watchdog = threading.Timer(STOP_S, _end)
    watchdog.daemon = True
    watchdog.start()
    front.stop()
    server.stop()


def _end() -> None:
    """Leave without Python's own farewell: a thread that still wants the interpreter
    then would abort the process."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
