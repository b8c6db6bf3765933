"""Which addresses are public: a list of our own, for Python's `is_global` is too kind.

It is true for NAT64, 6to4 and other addresses that wrap a private one. Sources: the
IANA special-purpose registries for IPv4 and IPv6, and RFC 6052, 4291, 3056, 4380, 5214.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_CLOSED_4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's answers to its virtual machines
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

# Only global unicast is open at all; that leaves out loopback, mapped, compatible and
# translated IPv4, NAT64 (also its local use), discard, unique local, link-local,
# site-local, segment routing and multicast.
_OPEN_6 = IPv6Network("2000::/3")
_CLOSED_6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_ISATAP = {0x00005EFE, 0x02005EFE}


def is_public(address: Address) -> bool:
    """Whether anybody's public server can have this address."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _CLOSED_4)
    if address not in _OPEN_6 or any(address in block for block in _CLOSED_6):
        return False
    # ISATAP wraps an IPv4 address into the lower half, whatever the prefix.
    return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP


def read(text: str) -> Address:
    """An address in its one plain form, without zone. Raises ValueError."""
    address = ip_address(text)
    if getattr(address, "scope_id", None):
        raise ValueError("an address with a zone is not public")
    return address
