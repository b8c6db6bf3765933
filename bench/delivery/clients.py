"""Clients that wait for the ends of jobs: a process of its own, one connection each.

Reads {host, port, authorization, paths, kind} as JSON from stdin. Prints a line once
all requests are sent, or all streams have begun, and a second one, {ended, last}, when
all are answered or closed: how many were told of the end, and when the last one was
(Unix time).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

END = b"cancelled"
BEGUN = b"event: queued"
PATIENCE_S = 60


async def wait(asked: dict[str, Any]) -> None:
    sending = (_asked(asked, path) for path in asked["paths"])
    readers = await asyncio.gather(*sending)
    if asked["kind"] == "stream":
        await asyncio.gather(*(reader.readuntil(BEGUN) for reader, _ in readers))
    print("ready", flush=True)
    ends = await asyncio.gather(*(_end(reader) for reader, _ in readers))
    for _, writer in readers:
        writer.close()
    told = [at for at in ends if at]
    print(json.dumps({"ended": len(told), "last": max(told, default=0)}))


async def _asked(
    asked: dict[str, Any], path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(asked["host"], asked["port"])
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {asked['host']}:{asked['port']}",
        f"Authorization: {asked['authorization']}",
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()
    return reader, writer


async def _end(reader: asyncio.StreamReader) -> float:
    """When this one was told of the end; 0 if it never was."""
    received = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await reader.read(1 << 16):
                received += chunk
                if _is_told(received):
                    return time.time()
    except (TimeoutError, ConnectionError):
        pass
    return 0


def _is_told(received: bytes) -> bool:
    """Both in an answer that has waited and in a stream of events."""
    return f'"status":"{END.decode()}"'.encode() in received.replace(b'": "', b'":"')


if __name__ == "__main__":
    asyncio.run(wait(json.load(sys.stdin)))
