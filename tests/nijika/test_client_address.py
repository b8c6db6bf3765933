"""Which address counts as the client's, under trusted proxies and forged headers."""

from __future__ import annotations

import pytest

from nijika.client_address import client_address, network

PEER = "203.0.113.7"


def found(
    proxies: int, forwarded: str = "", *, real: str = "", peer: str = PEER
) -> str:
    meta = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}
    headers = ["X-Real-IP", "X-Forwarded-For"] if real else ["X-Forwarded-For"]
    meta |= {"HTTP_X_REAL_IP": real}
    return client_address(meta, proxies=proxies, headers=headers)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.1", PEER),
        (1, "", PEER),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the first is the client's lie
        (2, "6.6.6.6, 198.51.100.1, 192.0.2.1", "198.51.100.1"),
        (3, "198.51.100.1", "198.51.100.1"),
        (1, "nonsense", PEER),
        (1, "198.51.100.1:4711", "198.51.100.1"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_forwarded_address(proxies: int, forwarded: str, address: str) -> None:
    assert found(proxies, forwarded) == address


def test_named_header_goes_before_the_others_behind_a_proxy() -> None:
    assert found(1, "198.51.100.1", real="198.51.100.2") == "198.51.100.2"
    assert found(0, "198.51.100.1", real="198.51.100.2") == PEER


def test_header_that_is_not_named_is_never_believed() -> None:
    meta = {"REMOTE_ADDR": PEER, "HTTP_X_REAL_IP": "198.51.100.2"}
    assert client_address(meta, proxies=1, headers=["X-Forwarded-For"]) == PEER


@pytest.mark.parametrize(
    ("address", "one"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unix:", "unix:"),
    ],
)
def test_network_is_what_one_client_has(address: str, one: str) -> None:
    assert network(address) == one
