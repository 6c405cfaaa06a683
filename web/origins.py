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
        _check_origin(request, origins)

    if ANY not in trusted:
        app.before_request(check)


def _check_host(asked: Request, trusted: frozenset[str]) -> None:
    # Who names none would be taken to mean the address that the server listens at.
    if "Host" not in asked.headers or host_name(asked.host) not in trusted:
        raise HostUntrustedError(
            "this server does not answer to that host name; see FACEBATCH_TRUSTED_HOSTS"
        )


def _check_origin(asked: Request, origins: frozenset[str]) -> None:
    is_safe = asked.method in SAFE and asked.headers.get("Upgrade") is None
    if not is_safe and is_foreign(asked, origins):
        raise OriginUntrustedError("a page of another origin may not do this here")


def is_foreign(asked: Request, origins: frozenset[str]) -> bool:
    """Whether a page asks that is neither of the request's own host nor of the `origins`.

    A browser names the page that asks; programs send no `Origin`, and are not concerned.
    """
    origin = asked.headers.get("Origin")
    if origin is None or origin in origins:
        return False
    return _place(origin) != asked.host.lower()


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
