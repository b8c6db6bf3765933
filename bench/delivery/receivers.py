"""Receivers of webhooks: a process of its own, on loopback.

    python -m bench.delivery.receivers healthy    answers 204 at once
    python -m bench.delivery.receivers hanging    takes everything and never answers

Prints its port. The healthy one then prints a line for each request: when it came (Unix
time) and which job it is about.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        came = time.time()
        body = await reader.readexactly(_length(head))
        writer.write(ANSWER)
        await writer.drain()
        print(came, json.loads(body)["data"]["id"], flush=True)
    finally:
        writer.close()


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    [length] = [one for one in lines if one.startswith(b"content-length:")]
    return int(length.split(b":")[1])


async def main(behaviour: str) -> None:
    behave = {"healthy": healthy, "hanging": hanging}[behaviour]
    server = await asyncio.start_server(behave, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
