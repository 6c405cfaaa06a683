"""The public keys of an issuer (RFC 7517): fetched, kept, and asked for again in moderation."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from web.errors import IssuerUnavailableError

log = structlog.get_logger()
FRESH_S = 3600.0
"""After so long they are fetched anew: a key that the issuer has withdrawn is none any more."""
USABLE_S = 24 * 3600.0
"""So long they serve where the issuer does not answer."""
UNKNOWN_EVERY_S = 60.0
"""An id that nobody knows is asked for so often and no more: anybody can make ids up."""
RETRY_EVERY_S = 5.0
"""While there is no key at all."""
READ_S = 5.0
LIMIT_S = 10.0
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What the issuer said, and when; on the clock that only goes forward."""

    keys: tuple[Key, ...]
    at: float


class IssuerKeys:
    """The keys at one place. Threads share it; one of them fetches at a time."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._asked_at = float("-inf")

    def key(self, kid: str | None) -> Key | None:
        """The key of this id, or the only one there is where a token names none.

        Raises `IssuerUnavailableError` where the keys cannot be had.
        """
        # Where there are none yet, whoever asks waits for those whom somebody is just fetching.
        if self._kept is None or self._is_due(unknown=False):
            self._refresh(unknown=False)
        found = _picked(self._usable(), kid)
        if found is None and self._is_due(unknown=True):
            self._refresh(unknown=True)
            found = _picked(self._usable(), kid)
        return found

    def _usable(self) -> tuple[Key, ...]:
        kept = self._kept
        if kept is None or time.monotonic() - kept.at > USABLE_S:
            raise IssuerUnavailableError("the issuer's keys cannot be had; try again later")
        return kept.keys

    def _is_due(self, *, unknown: bool) -> bool:
        now, kept = time.monotonic(), self._kept
        if kept is None:
            return now - self._asked_at >= RETRY_EVERY_S
        is_old = now - kept.at >= FRESH_S
        return (unknown or is_old) and now - self._asked_at >= UNKNOWN_EVERY_S

    def _refresh(self, *, unknown: bool) -> None:
        """Fetches them, unless somebody else is just doing so and there are some to go on with."""
        if not self._lock.acquire(blocking=self._kept is None):
            return
        try:
            if not self._is_due(unknown=unknown):
                return
            self._asked_at = time.monotonic()
            self._kept = _Kept(keys=_fetched(self._place), at=self._asked_at)
        except _UnusableError as exc:
            log.warning("issuer_keys_unavailable", error=type(exc.__cause__).__name__)
        finally:
            self._lock.release()


class _UnusableError(Exception):
    """What is at the place is no set of keys, or nothing is."""


def _picked(keys: tuple[Key, ...], kid: str | None) -> Key | None:
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((one for one in keys if one.kid == kid), None)


def _fetched(place: str) -> tuple[Key, ...]:
    try:
        data = _read(Path(place)) if place.startswith("/") else _answer(place)
        found = json.loads(data)["keys"]
        return tuple(key for one in found if (key := _imported(one)) is not None)
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError,
            RecursionError) as exc:  # fmt: skip
        raise _UnusableError from exc


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    return _not_too_much(data)


def _answer(url: str) -> bytes:
    """The body of a 200, and of nothing else: whoever redirects us might lead us anywhere."""
    give_up_at = time.monotonic() + LIMIT_S
    data = b""
    with (
        httpx.Client(timeout=READ_S, follow_redirects=False, trust_env=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ValueError("the answer is no success")
        for chunk in response.iter_bytes():
            data = _not_too_much(data + chunk)
            if time.monotonic() > give_up_at:
                raise TimeoutError("the answer takes too long")
    return data


def _not_too_much(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise ValueError("there is too much of it")
    return data


def _imported(one: Any) -> Key | None:
    """One key of a set; None for one that is not for signatures, or of a kind that we do not know.

    Issuers add kinds; those that we know must go on working.
    """
    try:
        key = JWKRegistry.import_key(one)
        key.check_use("sig")
    except (JoseError, ValueError, LookupError, TypeError):
        return None
    return key
