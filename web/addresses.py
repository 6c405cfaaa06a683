"""Where a request comes from, for what counts by it."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from flask import Request

Address = IPv4Address | IPv6Address
HOMES_PREFIX = 64
"""Bits of an IPv6 address that tell one home or office from another; the rest is its own choice."""
_WITH_PORT = re.compile(r"\[([^]]+)\](?::\d+)?|([^:]+):\d+")


def origin_of(asked: Request, proxies: Sequence[IPv4Network | IPv6Network]) -> str | None:
    """An IPv4 address, or the /64 of an IPv6 one; None where the peer has no address.

    Proxies add the peer that they see at the end of `X-Forwarded-For`. So it is read from there,
    for as long as whoever says so is one of our `proxies`; what stands before is anybody's word.
    """
    found = _address(asked.remote_addr or "")
    lines = asked.headers.getlist("X-Forwarded-For")
    told = [one for line in lines for one in line.split(",")]
    while found is not None and told and any(found in one for one in proxies):
        behind = _address(told.pop())
        if behind is None:
            break
        found = behind
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), HOMES_PREFIX), strict=False))
    return None if found is None else str(found)


def _address(text: str) -> Address | None:
    """An address, be it with a port as some proxies write it."""
    with_port = _WITH_PORT.fullmatch(text.strip())
    try:
        found = ip_address(with_port[1] or with_port[2] if with_port else text.strip())
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
