"""One POST to one URL: to an address that was checked, within 15 seconds, and no further."""

import asyncio
import email.utils
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore

from db.webhooks.targets import (
    Address,
    AddressRefusedError,
    Allowed,
    Target,
    TargetRefusedError,
    parse_target,
)
from workers.outbound.errors import Failure, SendError
from workers.outbound.names import Resolver

TOTAL_S = 15.0
"""From the first question to a name server to the last byte that is read."""
CONNECT_S = 5.0
"""For one of several addresses."""
MAX_READ_BYTES = 64 * 1024
"""Of an answer, its head included."""
KEPT_BYTES = 1000
"""Of an answer's body."""
MAX_ADDRESSES = 4
"""That are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver said."""

    status: int
    body: bytes
    """Its first bytes."""
    retry_after_s: float | None


class Poster:
    """Sends bodies to URLs that it does not trust.

    The host's name is looked up once. Each of its addresses has to be allowed, and the connection
    goes to one of these very addresses, whatever the name means a moment later; TLS and the header
    `Host` go by the name. Nothing is redirected, and no proxy is heeded.
    """

    def __init__(
        self, resolver: Resolver, allowed: Allowed, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._tls = tls or httpcore.default_ssl_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The receiver's answer, whatever its status; raises `SendError` where there is none."""
        heard = _Heard()
        try:
            async with asyncio.timeout(TOTAL_S):
                await self._post(url, headers, body, heard)
        except TimeoutError:
            if heard.status is None:
                raise SendError(Failure.TIMED_OUT) from None
        except SendError:
            if heard.status is None:
                raise
        # What had a status was answered. That its body breaks off, or never ends, changes nothing.
        assert heard.status is not None  # noqa: S101 - else something was raised.
        return Answer(
            status=heard.status, body=bytes(heard.body), retry_after_s=heard.retry_after_s
        )

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, heard: "_Heard"
    ) -> None:
        target, addresses = await self._checked(url)
        origin = httpcore.Origin(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port
        )
        connection = httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._tls, network_backend=_Pinned(addresses)
        )
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            async with connection.stream(
                b"POST",
                httpcore.URL(
                    scheme=origin.scheme,
                    host=origin.host,
                    port=origin.port,
                    target=target.path.encode(),
                ),
                headers=[(b"Host", _host_header(target)), (b"Connection", b"close"), *sent],
                content=body,
            ) as response:
                heard.head(response)
                async for chunk in response.aiter_stream():
                    heard.body += chunk[: KEPT_BYTES - len(heard.body)]
        except _FAILURES as exc:
            raise SendError(_failure_of(exc)) from exc
        finally:
            await connection.aclose()

    async def _checked(self, url: str) -> tuple[Target, list[Address]]:
        try:
            target = parse_target(url)
            if target.address is not None:
                addresses = [target.address]
            else:
                addresses = await self._resolver.addresses(target.host)
            self._allowed.check(addresses)
        except AddressRefusedError as exc:
            raise SendError(Failure.ADDRESS_REFUSED) from exc
        except TargetRefusedError as exc:
            raise SendError(Failure.URL_REFUSED) from exc
        return target, addresses[:MAX_ADDRESSES]


class _Heard:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after_s: float | None = None
        self.body = bytearray()

    def head(self, response: httpcore.Response) -> None:
        self.status = response.status
        for name, value in response.headers:
            if name.lower() == b"retry-after":
                self.retry_after_s = _seconds(value.decode("latin-1").strip())


def _seconds(value: str) -> float | None:
    """`Retry-After`: seconds, or a moment."""
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
        return max(0.0, at.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _host_header(target: Target) -> bytes:
    host = f"[{target.host}]" if target.address and target.address.version == 6 else target.host
    usual = {"http": 80, "https": 443}[target.scheme]
    return (host if target.port == usual else f"{host}:{target.port}").encode()


class _TooLongError(Exception):
    """More was sent than is read."""


_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    _TooLongError,
    OSError,
)


def _failure_of(error: BaseException) -> Failure:
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        is_tls = isinstance(error.__cause__ or error.__context__, ssl.SSLError)
        return Failure.TLS_FAILED if is_tls else Failure.CONNECT_FAILED
    if isinstance(error, _TooLongError):
        return Failure.ANSWER_TOO_LONG
    if isinstance(error, httpcore.RemoteProtocolError):
        # h11 says so of an end before the end, of a head that is too long, and of what is no HTTP.
        said = str(error)
        if "without sending" in said or "complete message" in said:
            return Failure.CONNECTION_BROKEN
        return Failure.ANSWER_TOO_LONG if "too" in said else Failure.ANSWER_MALFORMED
    if isinstance(error, httpcore.TimeoutException):
        return Failure.TIMED_OUT
    return Failure.CONNECTION_BROKEN


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to one of these addresses, whatever host it is asked for."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - httpcore's signature.
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first that takes one."""
        *first, last = self._addresses
        for address in first:
            try:
                return await self._connect(address, port, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._connect(last, port, local_address, socket_options)

    async def _connect(
        self, address: Address, port: int, local_address: str | None, options: Iterable[Any] | None
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(
            str(address), port, CONNECT_S, local_address, options
        )
        return _Bounded(stream)


class _Bounded(httpcore.AsyncNetworkStream):
    """A connection from which so much is read and no more."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._left_bytes = MAX_READ_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._left_bytes <= 0:
            raise _TooLongError
        data = await self._inner.read(min(max_bytes, self._left_bytes), timeout)
        self._left_bytes -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Bounded(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
