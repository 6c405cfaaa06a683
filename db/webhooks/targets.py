"""URLs that events may be sent to, and the addresses behind them.

A URL comes from whoever has an account, and what sends to it stands inside our network: it must
reach nothing there. So its form is narrow, and of its host each address has to be public, or in a
network that the operator has allowed.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from pipeline.errors import FaceBatchError

MAX_URL_CHARS = 2000
_PORTS = {"http": 80, "https": 443}
_SAFE_PORTS = {80, 443}
_FIRST_FREE_PORT = 1024
"""Below it stand mail, databases' ancestors and the like, none of which is a receiver of events."""
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What is global by IANA's registries of special purpose, and yet leads elsewhere: ways of writing
# an IPv4 address in an IPv6 one, and networks that were given back.
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(one)
    for one in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # In 2000::/3, outside of which nothing is public: Teredo and its neighbours, documentation,
        # 6to4, and the old test network.
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "3ffe::/16"),
    )
)
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")


class TargetRefusedError(FaceBatchError):
    """Events are not sent to such a URL."""

    code = "url_not_allowed"


class AddressRefusedError(TargetRefusedError):
    """Its host has an address that is neither public nor allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL of the allowed form, taken apart."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    address: Address | None
    """Where the host is written as one."""
    path: str
    """With its query."""


def parse_target(url: str) -> Target:
    """The URL's parts; raises `TargetRefusedError`, which never repeats the URL."""
    if len(url) > MAX_URL_CHARS:
        raise TargetRefusedError(f"the URL has more than {MAX_URL_CHARS} characters")
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise TargetRefusedError(
            "the URL has characters that URLs do not have; encode them, a host's name as Punycode"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise TargetRefusedError("this is no URL like https://example.com/hook") from exc
    if parts.scheme not in _PORTS or not parts.hostname:
        raise TargetRefusedError("only URLs like https://example.com/hook are taken")
    if "@" in parts.netloc:
        raise TargetRefusedError("the URL has a user in it; leave it out, events are signed")
    if "#" in url:
        raise TargetRefusedError("the URL has a fragment, which would never be sent; leave it out")
    address = _address(parts.hostname, in_brackets="[" in parts.netloc)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        scheme=parts.scheme,
        host=parts.hostname,
        port=_port(parts.scheme, port),
        address=address,
        path=path,
    )


def _port(scheme: str, port: int | None) -> int:
    if port is None:
        return _PORTS[scheme]
    if port not in _SAFE_PORTS and port < _FIRST_FREE_PORT:
        raise TargetRefusedError("of the ports below 1024 only 80 and 443 are taken")
    return port


def _address(host: str, *, in_brackets: bool) -> Address | None:
    """The host's address where it is one; raises `TargetRefusedError` where it half is."""
    try:
        if in_brackets:
            return ipaddress.IPv6Address(_without_zone(host))
        return ipaddress.IPv4Address(host)
    except ValueError:
        pass
    # Whoever reads "127.1", "0x7f000001", "017700000001" or "2130706433" as libc does sees an
    # address. No name of a host ends in a number (RFC 3696; the URL standard says the same).
    if in_brackets or not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise TargetRefusedError("the URL's host is neither a name nor an address in full")
    return None


def _without_zone(host: str) -> str:
    if "%" in host:
        raise ValueError("a zone names a network card of this machine")
    return host


def is_public(address: Address) -> bool:
    """Whether this is the address of some machine on the internet, and plainly so."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    if any(address in one for one in _NOT_PUBLIC if one.version == address.version):
        return False
    return address.is_global


@dataclass(frozen=True, slots=True)
class Allowed:
    """Networks that events may be sent to although they are not public."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, listed: str | None) -> Self:
        """From the setting, which was checked."""
        return cls(tuple(ipaddress.ip_network(one.strip()) for one in (listed or "").split(",")
                         if one.strip()))  # fmt: skip

    def check(self, addresses: Sequence[Address]) -> None:
        """Raises `AddressRefusedError` unless events may be sent to every one of them.

        One that may not spoils the others: which of them is taken is the sender's choice, and
        whoever names both wants it to take the wrong one.
        """
        if not addresses or not all(map(self._admits, addresses)):
            raise AddressRefusedError(
                "the URL's host has an address that is not public; to send into a network of "
                "yours, list it in FACEBATCH_WEBHOOK_NETWORKS"
            )

    def check_url(self, url: str) -> None:
        """What can be said of a URL without asking anybody; raises `TargetRefusedError`."""
        target = parse_target(url)
        if target.address is not None:
            self.check([target.address])

    def _admits(self, address: Address) -> bool:
        named = any(address in one for one in self.networks if one.version == address.version)
        return named or is_public(address)
