"""Names of hosts into addresses, asked of name servers and of nothing else.

By dnspython and not by `getaddrinfo`: that holds a thread for as long as a name server is silent,
so that a few slow ones would hold up everybody, and it takes shorthands of addresses for names. Nor
does a name from this machine's own `/etc/hosts` lead anywhere.
"""

import ipaddress
from typing import Protocol, Self

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from db.setting_kinds import name_server
from db.settings import Settings
from db.webhooks.targets import Address
from workers.outbound.errors import Failure, SendError

LIMIT_S = 8.0
"""For all name servers together."""
LOOPBACK: tuple[Address, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


class Resolver(Protocol):
    """Whoever knows a host's addresses."""

    async def addresses(self, host: str) -> list[Address]:
        """All of them, those of IPv4 first; raises `SendError`."""


class NameServers:
    """Asks at each call; nothing is remembered."""

    def __init__(self, resolver: dns.asyncresolver.Resolver) -> None:
        self._resolver = resolver

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Those that are set, or the machine's."""
        if settings.webhook_name_servers is None:
            return cls(dns.asyncresolver.Resolver())
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(*name_server(one.strip()))
            for one in settings.webhook_name_servers.split(",")
        ]
        return cls(resolver)

    async def addresses(self, host: str) -> list[Address]:
        """All of them, those of IPv4 first; raises `SendError`."""
        if host == "localhost" or host.endswith(".localhost"):
            return list(LOOPBACK)  # RFC 6761: no name server is to be asked.
        try:
            found = await self._resolver.resolve_name(host, lifetime=LIMIT_S)
        except (dns.exception.DNSException, OSError) as exc:
            raise SendError(Failure.NAME_UNKNOWN) from exc
        addresses = [ipaddress.ip_address(one) for one in found.addresses()]
        return sorted(addresses, key=lambda one: one.version)
