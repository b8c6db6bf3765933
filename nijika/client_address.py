"""From which address a request came, as far as that can be known.

Without trusted proxies it is the socket's peer, whatever headers say. Behind them each
proxy has appended to `X-Forwarded-For` the peer that it saw: with N trusted proxies the
Nth entry from the right is the last one that a trusted proxy wrote. A header in which
the nearest proxy puts one address (`X-Real-IP`, `CF-Connecting-IP`) is believed where
the settings name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

FORWARDED = "X-Forwarded-For"


def client_address(
    meta: Mapping[str, str], *, proxies: int, headers: Sequence[str]
) -> str:
    """The client's address in its one spelling; the peer's text if it is none.

    `proxies` is how many trusted ones stand before us, `headers` are the names to
    believe then, in this order.
    """
    peer = meta.get("REMOTE_ADDR", "")
    if proxies > 0:
        for header in headers:
            if found := _told(meta.get(_key(header), ""), header, proxies):
                return found
    return _address(peer) or peer


def network(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 host has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return address
    return str(ip_network((parsed, 64), strict=False))


def _told(value: str, header: str, proxies: int) -> str | None:
    if header.lower() != FORWARDED.lower():
        return _address(value)
    hops = [hop for hop in value.split(",") if hop.strip()]
    if not hops:
        return None
    # Fewer hops than proxies: someone has come in behind the first of them.
    return _address(hops[max(0, len(hops) - proxies)])


def _address(text: str) -> str | None:
    text = text.strip().strip('"')
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        parsed: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def _key(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")
