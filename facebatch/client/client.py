"""The client of one server."""

import ssl
from collections.abc import Callable
from typing import Self

import httpx
from pydantic import SecretStr

from facebatch.client.connection import Connection, KeyFor
from facebatch.client.faces import FaceCalls
from facebatch.client.files import ExportCalls, UploadCalls
from facebatch.client.jobs import LONG_POLL_S, JobCalls
from facebatch.client.keys import KeyCalls
from facebatch.client.models.faces import Health
from facebatch.client.models.usage import Usage
from facebatch.client.people import GalleryCalls, SubjectCalls
from facebatch.client.webhooks import WebhookCalls

TIMEOUT_S = 60.0
PATIENCE_S = 30.0
CONNECT_S = 5.0


class Client:
    """Speaks to one server; may be used by several threads at once.

    Every request is sent again while the server is away, fails or has too much to do: for
    `patience_s`, with pauses that grow, and never before the server wishes it. None counts twice.
    Methods raise `ClientError` and no error of an HTTP library.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | SecretStr | None = None,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        endures_limits: bool = False,
        verify: ssl.SSLContext | bool = True,
        trust_env: bool = False,
        tell: Callable[[str], None] = lambda _message: None,
    ) -> None:
        """`timeout_s` is for one answer, or a pause within it; `api_key` may be a token, too.

        With `endures_limits` a server that takes no more for now (429), and says until when, is
        waited for however often it says so.

        With `trust_env` the environment's proxies are used. `tell` gets a line where the server is
        away for some seconds. Raises `ValueError` for an address or a key that is none.
        """
        url = _address(base_url)
        key = _key(api_key)
        self._connection = Connection(
            httpx.Client(
                base_url=url,
                auth=KeyFor(url, key) if key else None,
                timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
                verify=verify,
                trust_env=trust_env,
            ),
            patience_s=patience_s,
            endures_limits=endures_limits,
            tell=tell,
        )
        self.jobs = JobCalls(self._connection, long_poll_s=min(LONG_POLL_S, timeout_s / 2))
        self.galleries = GalleryCalls(self._connection)
        self.subjects = SubjectCalls(self._connection)
        self.faces = FaceCalls(self._connection)
        self.uploads = UploadCalls(self._connection)
        self.exports = ExportCalls(self._connection)
        self.webhooks = WebhookCalls(self._connection)
        self.keys = KeyCalls(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.address!r})"

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._connection.address

    def close(self) -> None:
        """Lets the connections go."""
        self._connection.http.close()

    def usage(self) -> Usage:
        """How much there is of what has a quota, and how much may be; raises `ClientError`."""
        return self._connection.read(Usage, "/v1/usage")

    def health(self) -> Health:
        """That all parts of the server answer; raises `ClientError` where one does not."""
        return self._connection.read(Health, "/health")


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("base_url is no address of a server; give http://HOST:PORT")
    return url


def _key(api_key: str | SecretStr | None) -> SecretStr | None:
    """The key; a header can hold no other."""
    if not api_key:
        return None
    key = api_key if isinstance(api_key, SecretStr) else SecretStr(api_key)
    text = key.get_secret_value()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("the API key has characters that no key has")
    return key if text else None
