"""Who may be meant and who may ask: the host names we answer to, and pages of our own alone.

A browser lets any page send a form anywhere, and a page whose name is made to resolve to this
machine (DNS rebinding) even read the answers. Neither has our name in both `Host` and `Origin`. A
WebSocket any page may open and read, so for one it is as for a change.
"""

from urllib.parse import urlsplit

from flask import Flask, Request, request

from web.errors import HostUntrustedError, OriginUntrustedError

ANY = "*"
SAFE = {"GET", "HEAD", "OPTIONS"}


def guard(app: Flask, trusted: frozenset[str], origins: frozenset[str] = frozenset()) -> None:
    """Refuses requests for other hosts than the `trusted`, and what other pages ask for.

    That is changes and WebSockets; pages of the `origins` may ask for them.
    """

    def check() -> None:
        _check_host(request, trusted)
        if request.headers.get("Origin") not in origins:
            _check_origin(request)

    if ANY not in trusted:
        app.before_request(check)


def _check_host(asked: Request, trusted: frozenset[str]) -> None:
    # Who names none would be taken to mean the address that the server listens at.
    if "Host" not in asked.headers or host_name(asked.host) not in trusted:
        raise HostUntrustedError(
            "this server does not answer to that host name; see FACEBATCH_TRUSTED_HOSTS"
        )


def _check_origin(asked: Request) -> None:
    """A browser names the page that asks; programs, which send no `Origin`, are not concerned."""
    origin = asked.headers.get("Origin")
    is_safe = asked.method in SAFE and asked.headers.get("Upgrade") is None
    if is_safe or origin is None:
        return
    if _place(origin) != asked.host.lower():
        raise OriginUntrustedError("a page of another origin may not do this here")


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def host_name(host: str) -> str:
    """Without the port; an IPv6 address keeps its brackets."""
    name, bracket, _ = host.partition("]") if host.startswith("[") else host.partition(":")
    return (name + bracket if bracket == "]" else name).lower()
