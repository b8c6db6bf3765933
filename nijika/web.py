"""`python -m nijika.web`: the web server, one process on `NIJIKA_HOST:NIJIKA_PORT`.

granian runs inside this process and its event loop, so that signals are ours: SIGTERM
and SIGINT stop the listening, let running requests end, and end the process within
`STOP_S` whatever hangs. (Run by its own command it has sometimes ignored SIGTERM.)
"""

import asyncio
import logging
import os
import signal
import threading

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

STOP_S = 8.0
BACKLOG = 1024
OPEN_CONNECTIONS = 4096
"""Beyond these, connections wait in the kernel. An idle one costs a few kilobytes."""
IDLE_MS = 60_000

logger = logging.getLogger(__name__)


def main() -> int:
    """Serve until a signal. Returns the exit status."""
    return asyncio.run(_serve())


async def _serve() -> int:
    from nijika.asgi import application  # sets Django up

    host = os.environ.get("NIJIKA_HOST", "127.0.0.1")
    port = int(os.environ.get("NIJIKA_PORT", "8000"))
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
        loop.add_signal_handler(number, _stop, server, stopped)
    logging.getLogger("_granian").setLevel(logging.WARNING)
    await server.serve()
    return 0 if stopped.is_set() else 1


def _stop(server: Server, stopped: asyncio.Event) -> None:
    if not stopped.is_set():
        stopped.set()
        watchdog = threading.Timer(STOP_S, os._exit, [0])
        watchdog.daemon = True
        watchdog.start()
        server.stop()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    raise SystemExit(main())
