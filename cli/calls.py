"""Calls of the HTTP API that wait for a server which is away and comes back."""

import random
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Self

import httpx
from pydantic import SecretStr

from pipeline.errors import FaceBatchError

PATIENCE_S = 120.0
"""How long a server may be away: any part of a stack is back well before."""
TELL_AFTER_S = 3.0
"""A part that restarts is back sooner, and needs no word."""
LONGEST_PAUSE_S = 60.0
"""A server that has asked for a longer one may take more by then."""
PAGE = 500
KEY_HINT = (
    "FACEBATCH_API_KEY must be a key of this server: `facebatch keys create` makes one where its "
    "database is at hand"
)
Json = dict[str, Any]


class ApiError(FaceBatchError):
    """The server refused a request, and would refuse it again."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class UnexpectedAnswerError(ApiError):
    """Somebody else than facebatch has answered."""

    code = "unexpected_answer"

    def __init__(self, status: int, path: str) -> None:
        detail = f"{path} answers {status} with no answer of facebatch"
        super().__init__(status, type(self).code, detail)


class ServerAwayError(FaceBatchError):
    """The server did not answer for longer than it may take to come back."""

    code = "server_away"
    permanent = False


class _KeyFor(httpx.Auth):
    """Shows an API key to one server, and to no other to which a request may go."""

    def __init__(self, server: httpx.URL, key: SecretStr) -> None:
        self._server = server
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request, with the key where it goes to the server."""
        here, there = self._server, request.url
        if (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port):
            request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


class Caller:
    """Speaks to one server."""

    def __init__(
        self,
        api_url: str,
        *,
        key: SecretStr | None = None,
        patience_s: float = PATIENCE_S,
        tell: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._http = httpx.Client(
            base_url=api_url,
            auth=_KeyFor(httpx.URL(api_url), key) if key else None,
            timeout=httpx.Timeout(60, connect=5),
            # Loopback has no proxy, whatever the environment says.
            trust_env=False,
        )
        self._patience_s = patience_s
        self._tell = tell
        self._told = False
        """That it is away, since it last answered: once, and not by each of several threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def pages(self, path: str, field: str, *, params: Json | None = None) -> Iterator[Json]:
        """What a listing holds, page by page."""
        cursor: str | None = None
        while True:
            where = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
            page = self.call("GET", path, params=where | (params or {}))
            yield from page[field]
            if (cursor := page["next_cursor"]) is None:
                return

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Json | None = None,
        params: Json | None = None,
        patience_s: float | None = None,
    ) -> Json:
        """The body of the answer; raises `ApiError`, `ServerAwayError`."""

        def send() -> httpx.Response:
            return self._http.request(method, path, json=json, params=params)

        response = checked(self.answered(send, patience_s))
        try:
            return dict(response.json()) if response.content else {}
        except (ValueError, TypeError) as exc:
            raise _unexpected(response) from exc

    def answered(
        self, send: Callable[[], httpx.Response], patience_s: float | None = None
    ) -> httpx.Response:
        """The answer, waiting for a server that is away; raises `ServerAwayError`."""
        waits_on_request = patience_s is None
        patience_s = self._patience_s if patience_s is None else patience_s
        began_at = time.monotonic()
        pause_s = 0.1
        while True:
            asked_s = 0.0
            try:
                response = send()
                if not _may_pass(response):
                    self._told = False
                    return response
                cause = f"it answers {response.status_code}"
                asked_s = _asked_to_wait_s(response)
            except httpx.TransportError as exc:
                cause = type(exc).__name__
            if asked_s and waits_on_request:
                # It is there, and has said when it will take more.
                began_at = time.monotonic()
            self._say(cause, time.monotonic() - began_at, patience_s, asked_s)
            time.sleep(max(asked_s, pause_s * random.uniform(0.5, 1.0)))  # noqa: S311 - jitter is no secret.
            pause_s = min(pause_s * 2, 2.0)

    def _say(self, cause: str, away_s: float, patience_s: float, asked_s: float) -> None:
        """Tells once that it takes long; raises `ServerAwayError` where it takes too long."""
        server = f"the server at {self._http.base_url}"
        if away_s > patience_s:
            raise ServerAwayError(
                f"{server} has been away for {patience_s:.0f} s ({cause}); see `facebatch status` "
                "and its logs"
            )
        if self._told or max(away_s, asked_s) <= TELL_AFTER_S:
            return
        self._told = True
        if asked_s:
            self._tell(f"{server} takes no more for now ({cause}); going on as it takes it")
        else:
            self._tell(f"{server} is away ({cause}); waiting up to {patience_s:.0f} s for it")


def _asked_to_wait_s(response: httpx.Response) -> float:
    """For how long somebody who asks too often, or for too much at a time, is to wait."""
    wanted = response.headers.get("Retry-After", "")
    if response.status_code != httpx.codes.TOO_MANY_REQUESTS or not wanted.isdecimal():
        return 0.0
    return min(float(wanted), LONGEST_PAUSE_S)


def _may_pass(response: httpx.Response) -> bool:
    return response.status_code in {429, 500, 502, 503, 504}


def checked(response: httpx.Response) -> httpx.Response:
    """The response where it is a success; raises `ApiError`."""
    if response.is_success:
        return response
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        raise _unexpected(response) from None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        detail = f"{detail}; {KEY_HINT}"
    raise ApiError(response.status_code, code, detail)


def _unexpected(response: httpx.Response) -> ApiError:
    return UnexpectedAnswerError(response.status_code, response.url.path)
