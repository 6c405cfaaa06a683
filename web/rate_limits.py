"""How often: requests of one key, token or address, and tries with keys that are not good.

They are counted in Redis, for all processes together, and nothing else depends on it. Where it
does not answer, a process counts in its own memory, and looks for it now and then.
"""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import redis
import structlog
from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

from db.settings import Settings
from web import problems
from web.addresses import origin_of
from web.errors import (
    KeyInvalidError,
    KeyMalformedError,
    TokenInvalidError,
    TooManyRequestsError,
)

log = structlog.get_logger()
OFF = "off"
STORE_TIMEOUT_S = 0.25
"""Redis answers in a thousandth of that; who finds it away waits no longer, and then knows."""
SAID_EVERY_S = 60.0
GUESSES = (KeyInvalidError, KeyMalformedError, TokenInvalidError)
"""Refusals of what may have been made up. Whoever shows what has ended had it from us."""
TOO_OFTEN = "too many requests; send fewer, and the next one after Retry-After"
TOO_WRONG = "too many keys that are not good came from this address; wait for Retry-After"
POLICY, LEFT = "RateLimit-Policy", "RateLimit"
HEADERS = {
    POLICY: "Limits that hold for whoever calls: requests (`q`) in so many seconds (`w`).",
    LEFT: "What is left of each: requests (`r`), and seconds until all of it is there again (`t`).",
}
"""As draft-ietf-httpapi-ratelimit-headers has them from its version 08 on: lists of policies, each
with a name of its own."""
WINDOWS = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


def count_as(kind: str, *parts: str) -> None:
    """Requests like this one count together: what has been found out of its key or token."""
    g.counted_as = f"{kind}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"


class RateLimits:
    """The limits of an app; those that are off cost nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._proxies = settings.proxy_networks

    def guard_keys(self, app: Flask, *, shows_one: Callable[[], bool]) -> None:
        """Refuses addresses from which too many wrong keys came. To be called before keys are read.

        It concerns requests of which `shows_one` says that they show a key or a token. An address
        is refused whatever it shows: nobody learns there which guess was right.
        """
        limit = self._settings.wrong_key_limit
        wrong = self._limit(
            limit,
            key_function=self._origin,
            exempt_when=lambda: not shows_one() or self._origin() == "",
            deduct_when=lambda _response: isinstance(g.get("refusal"), GUESSES),
        )
        self._install(app, "wrong-keys", wrong, TOO_WRONG, told=False)

    def guard_requests(self, app: Flask) -> None:
        """Refuses whoever asks too often. To be called when it has been found out who that is."""
        limits = (
            *self._limit(
                self._settings.rate_limit,
                key_function=lambda: g.counted_as,
                exempt_when=lambda: "counted_as" not in g,
            ),
            *self._limit(
                self._settings.address_rate_limit,
                key_function=self._origin,
                exempt_when=lambda: "counted_as" in g or "refusal" not in g or self._origin() == "",
            ),
            *self._limit(
                self._settings.loopback_rate_limit,
                key_function=self._origin,
                exempt_when=lambda: "counted_as" in g or "caller" not in g,
            ),
        )
        self._install(app, "requests", limits, TOO_OFTEN, told=True)

    def _limit(self, wanted: str, **how: Any) -> tuple[ApplicationLimit, ...]:
        return () if wanted == OFF else (ApplicationLimit(limit_provider=wanted, **how),)

    def _origin(self) -> str:
        if "origin" not in g:
            g.origin = origin_of(request, self._proxies) or ""
        found: str = g.origin
        return found

    def _install(
        self,
        app: Flask,
        name: str,
        limits: tuple[ApplicationLimit, ...],
        detail: str,
        *,
        told: bool,
    ) -> None:
        """Has the app heed the limits; where they are `told`, each answer says what is left."""
        if not limits:
            return
        limiter = Limiter(
            self._origin,
            application_limits=[*limits],
            # Exact, and cheap: over the border between two windows twice as many may pass.
            strategy="fixed-window",
            storage_uri="redis://",
            # The library says it takes numbers and texts alone, and documents this.
            storage_options={"connection_pool": self._pool},  # type: ignore[dict-item]
            key_prefix=f"facebatch:{name}",
            in_memory_fallback_enabled=True,
            swallow_errors=True,
            # It would have `Retry-After` in every answer, where ours says when a job may be done.
            headers_enabled=False,
            on_breach=lambda breached: _refused(breached, detail),
        )
        # Sooner than the library would find out: most requests are of those whom no limit concerns.
        limiter.request_filter(lambda: all(one.exempt_when and one.exempt_when() for one in limits))
        limiter.logger.setLevel(logging.INFO)
        limiter.logger.addHandler(_STORE_LOG)
        limiter.init_app(app)
        app.after_request(_telling(limiter, name, always=told))

    @cached_property
    def _pool(self) -> "redis.ConnectionPool":
        url = self._settings.redis_url
        return redis.ConnectionPool.from_url(
            url.get_secret_value() if url else "redis://",
            socket_timeout=STORE_TIMEOUT_S,
            socket_connect_timeout=STORE_TIMEOUT_S,
            # Who tries again makes a request wait again.
            retry=Retry(NoBackoff(), 0),
        )


def _refused(breached: RequestLimit, detail: str) -> Response:
    return problems.of_error(TooManyRequestsError(detail, retry_after_s=_seconds_left(breached)))


def _seconds_left(limit: RequestLimit) -> int:
    """Until the window ends: then all of it may be used again."""
    return max(1, math.ceil(limit.reset_at - time.time()))


def _telling(limiter: Limiter, name: str, *, always: bool) -> Callable[[Response], Response]:
    def tell(response: Response) -> Response:
        try:
            for one in limiter.current_limits:
                if always or one.breached:
                    _tell(response, name, one)
        except redis.RedisError:
            _STORE_LOG.say_away()
        return response

    return tell


def _tell(response: Response, name: str, limit: RequestLimit) -> None:
    window_s = limit.limit.get_expiry()
    policy = f'"{name}-per-{WINDOWS[window_s]}"'
    told = {
        POLICY: f"{policy};q={limit.limit.amount};w={window_s}",
        LEFT: f"{policy};r={limit.remaining};t={_seconds_left(limit)}",
    }
    for header, value in told.items():
        others = response.headers.get(header)
        response.headers[header] = f"{others}, {value}" if others else value


class _StoreLog(logging.Handler):
    """What the library says of its store, as events of ours; that it is away, once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said_at = -SAID_EVERY_S

    def emit(self, record: logging.LogRecord) -> None:
        """Its warnings and errors all mean that Redis did not count; it says when it does again."""
        if record.levelno >= logging.WARNING:
            self.say_away()
        elif record.msg == "Rate limit storage recovered":
            log.info("rate_limits_counted_again")

    def say_away(self) -> None:
        """Says it, where nobody has for a while."""
        with self.lock or threading.RLock():
            is_due = time.monotonic() >= self._said_at + SAID_EVERY_S
            if is_due:
                self._said_at = time.monotonic()
        if is_due:
            log.warning("rate_limits_uncounted", reason="redis does not answer")


_STORE_LOG = _StoreLog()
