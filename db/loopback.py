"""Which servers are on this machine, so that no proxy stands before them."""

import ipaddress
from urllib.parse import urlsplit


def leads_to_loopback(endpoint: str | None) -> bool:
    """Whether the address of a server is one of this machine's own."""
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
