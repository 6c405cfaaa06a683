"""Requests to one server: with the key, tried again where that is safe, answers as values."""

import random
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from facebatch.client.answers import checked, may_pass, problem_of, retry_after_s, unexpected
from facebatch.client.models.base import Answer, Page, Tagged
from facebatch.errors import NotFoundError, ServerAwayError

TELL_AFTER_S = 3.0
"""A server that restarts is back sooner, and needs no word."""
PAGE = 500
"""Entries of a list that are asked for at once."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Nothing of the request has left."""
_ROUTE_UNKNOWN = "route_not_found"
Model = TypeVar("Model", bound=BaseModel)
Entry = TypeVar("Entry", bound=Answer)
Params = Mapping[str, object | None]


class KeyFor(httpx.Auth):
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


class Connection:
    """Speaks to one server, from several threads if need be."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        patience_s: float,
        endures_limits: bool,
        tell: Callable[[str], None],
    ) -> None:
        self.http = http
        self.address = _address(http.base_url)
        self._patience_s = patience_s
        self._endures_limits = endures_limits
        self._tell = tell
        self._told = False
        """That it is away, since it last answered: once, and not by each of several threads."""

    def read(self, model: type[Model], path: str, **options: Any) -> Model:
        """What `path` tells; `options` as those of `call`."""
        return value_of(model, self.call("GET", path, **options))

    def post(self, model: type[Model], path: str, **options: Any) -> Model:
        """What came of asking `path` for something; `options` as those of `call`."""
        return value_of(model, self.call("POST", path, **options))

    def pages(
        self, page: type[Page[Entry]], path: str, params: Params | None = None
    ) -> Iterator[Entry]:
        """All that a list holds; each page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            where = {"limit": PAGE, "cursor": cursor, **(params or {})}
            found = self.read(page, path, params=where)
            yield from found.entries
            if (cursor := found.next_cursor) is None:
                return

    def delete(self, path: str, *, if_match: str | None = None) -> None:
        """Deletes; where it is gone when this is tried again, an answer was lost."""
        tries = 0

        def send() -> httpx.Response:
            nonlocal tries
            tries += 1
            return self.http.delete(path, headers=headers_of(if_match=if_match))

        try:
            checked(self.answered(send))
        except NotFoundError as exc:
            if tries == 1 or exc.code == _ROUTE_UNKNOWN:
                raise

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
        repeat: bool = True,
        patience_s: float | None = None,
    ) -> httpx.Response:
        """The answer, which is a success; raises `ApiError`, `ServerAwayError`.

        `once` has the server do it once, however often it is asked; without `repeat` what may have
        got there is not sent again.
        """
        sent = {**(headers or {}), **(once_more_is_no_more() if once else {})}
        query = {name: str(value) for name, value in (params or {}).items() if value is not None}

        def send() -> httpx.Response:
            return self.http.request(method, path, json=json, data=data, params=query, headers=sent)

        return checked(self.answered(send, repeat=repeat, patience_s=patience_s))

    def answered(
        self,
        send: Callable[[], httpx.Response],
        *,
        repeat: bool = True,
        patience_s: float | None = None,
    ) -> httpx.Response:
        """The answer, waiting for a server that is away or overburdened.

        Raises `ServerAwayError`, and the `ApiError` with which it went on answering.
        """
        waiting = _Waiting(self._patience_s if patience_s is None else patience_s)
        while True:
            try:
                response = send()
            except httpx.TransportError as exc:
                cause, asked_s = type(exc).__name__, None
                if not repeat and not isinstance(exc, _UNSENT):
                    raise ServerAwayError(
                        f"the server at {self.address} did not answer ({cause})"
                    ) from exc
                if waiting.is_over(None):
                    raise ServerAwayError(
                        f"the server at {self.address} has been away for "
                        f"{waiting.patience_s:.0f} s ({cause})"
                    ) from exc
            else:
                if not may_pass(response):
                    self._told = False
                    return response
                cause, asked_s = f"it answers {response.status_code}", retry_after_s(response)
                limited = response.status_code == httpx.codes.TOO_MANY_REQUESTS and asked_s
                if limited and self._endures_limits and patience_s is None:
                    # It is there, and has said when it will take more.
                    waiting.begin()
                if waiting.is_over(asked_s):
                    raise problem_of(response)
            self._wait(waiting, cause, asked_s)

    def _wait(self, waiting: "_Waiting", cause: str, asked_s: float | None) -> None:
        if max(waiting.so_far_s, asked_s or 0.0) > TELL_AFTER_S and not self._told:
            self._told = True
            server = f"the server at {self.address}"
            self._tell(
                f"{server} takes no more for now ({cause}); going on when it does"
                if asked_s
                else f"{server} is away ({cause}); waiting up to {waiting.patience_s:.0f} s for it"
            )
        waiting.pause(asked_s)


class _Waiting:
    """For one answer: longer each time, never in step with others, and not for ever."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._pause_s = FIRST_PAUSE_S
        self.begin()

    def begin(self) -> None:
        """Counts the time from now on."""
        self._began_at = time.monotonic()

    @property
    def so_far_s(self) -> float:
        """Seconds since the first try."""
        return time.monotonic() - self._began_at

    def is_over(self, asked_s: float | None) -> bool:
        """Whether there is no time for the pause that the server has asked for, or for any."""
        return self.so_far_s + (asked_s or 0.0) > self.patience_s

    def pause(self, asked_s: float | None) -> None:
        """Sleeps, at least as long as the server has asked for."""
        jittered_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret.
        time.sleep((asked_s or 0.0) + jittered_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


def value_of(model: type[Model], response: httpx.Response) -> Model:
    """The answer as a value; raises `UnexpectedAnswerError`, which tells nothing of it."""
    try:
        value = model.model_validate_json(response.content)
    except ValidationError:
        raise unexpected(response) from None
    if isinstance(value, Tagged):
        value.take_tag(response.headers.get("ETag"))
    return value


def once_more_is_no_more() -> dict[str, str]:
    """A new key for a request, under which the server does it once."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def headers_of(*, if_match: str | None = None) -> dict[str, str]:
    """Those of a request that changes something only where it is as the caller knows it."""
    return {} if if_match is None else {"If-Match": if_match}


def _address(url: httpx.URL) -> str:
    """Where the server is, without the user and password that an address may have."""
    return str(url.copy_with(userinfo=b"")).rstrip("/")
