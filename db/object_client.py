"""Objects in single requests, as every photo takes them: a client at a quarter of boto's cost."""

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError
from obstore.store import S3Store

from db.errors import (
    ObjectChangedError,
    ObjectDeniedError,
    ObjectMissingError,
    ObjectRefusedError,
    StorageUnavailableError,
)
from db.refusals import refusal
from db.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig

TIMEOUT_S = 10
"""Twice that is less than half a lease: a bucket that hangs must not look like a dead worker."""
_STATUS = re.compile(r" status code: (\d{3}) ")
_CODE = re.compile(r"<Code>([^<]*)</Code>")


class UnnameableKeyError(ValueError):
    """The client cannot name the object: it has empty parts, or characters that paths do not."""


@contextlib.contextmanager
def _translated(key: str, *, foreign: bool, reading: bool) -> Iterator[None]:
    """Turns the client's errors into ours, as `db.storage` does with boto's."""
    try:
        yield
    except FileNotFoundError as exc:
        if not foreign and "<Code>NoSuchBucket<" in str(exc):
            raise StorageUnavailableError("the bucket does not exist") from None
        raise ObjectMissingError(f"the object {key} is not in the bucket") from None
    except PreconditionError:
        raise ObjectChangedError(f"the object {key} has changed since it was listed") from None
    except PermissionDeniedError as exc:
        if reading and (refused := _refusal(exc)):
            raise refused from None
        if foreign:
            raise ObjectDeniedError(f"the bucket does not let us read the object {key}") from None
        raise StorageUnavailableError("the bucket refused a request") from None
    except BaseError as exc:
        if reading and (refused := _refusal(exc)):
            raise refused from None
        raise StorageUnavailableError("the bucket does not answer") from exc
    except ValueError as exc:
        raise UnnameableKeyError("the key has no form that the client can ask for") from exc


def _refusal(error: BaseError) -> ObjectRefusedError | None:
    """What the server has answered, which the client tells in its message alone."""
    status, code = _STATUS.search(str(error)), _CODE.search(str(error))
    return refusal(int(status[1]), code[1] if code else None) if status else None


class ObjectClient:
    """Reads and writes objects. Safe to share between threads, not between processes."""

    def __init__(self, connect: Callable[[str], S3Store], own_bucket: str) -> None:
        self._connect = connect
        self._own_bucket = own_bucket
        self._stores: dict[str, S3Store] = {}

    @classmethod
    def from_settings(cls, settings: Settings, *, direct: bool) -> Self:
        """Connects at the first request; `direct`: by no proxy, whatever the environment says."""
        endpoint = settings.s3_endpoint_url.get_secret_value() if settings.s3_endpoint_url else None
        client: ClientConfig = {
            "allow_http": True,
            "timeout": dt.timedelta(seconds=TIMEOUT_S),
            "connect_timeout": dt.timedelta(seconds=3),
        }
        if direct and endpoint:
            # One that is named takes the place of the environment's, and this one is never used.
            client |= {"proxy_url": endpoint, "proxy_excludes": "127.0.0.0/8,::1,localhost"}

        def connect(bucket: str) -> S3Store:
            return S3Store(
                bucket,
                endpoint=endpoint,
                region=settings.aws_region,
                virtual_hosted_style_request=False,
                client_options=client,
                checksum_algorithm="sha256",
                retry_config={
                    "max_retries": 1,
                    "retry_timeout": dt.timedelta(seconds=TIMEOUT_S),
                },
                **_credentials(settings),
            )

        return cls(connect, settings.s3_bucket)

    def get(
        self, key: str, *, bucket: str | None, etag: str | None, span: tuple[int, int] | None
    ) -> bytes:
        """As `ObjectStore.get`, and raises `UnnameableKeyError`."""
        if key != key.strip("/"):
            raise UnnameableKeyError("the client would leave out the slash, and read another")
        with _translated(key, foreign=bucket is not None, reading=True):
            try:
                found = self._store(bucket).get(
                    key,
                    options={
                        **({"if_match": etag} if etag else {}),
                        **({"range": (span[0], span[0] + span[1])} if span else {}),
                    },
                )
                return bytes(found.bytes())
            except BaseError as exc:
                if "<Code>InvalidRange<" in str(exc):
                    return b""  # The span begins where the object has ended.
                raise

    def put(self, key: str, data: bytes) -> None:
        """Writes an object of our bucket, with its checksum; raises `StorageUnavailableError`."""
        with _translated(key, foreign=False, reading=False):
            self._store(None).put(key, data, use_multipart=False)

    def _store(self, bucket: str | None) -> S3Store:
        name = bucket or self._own_bucket
        if name not in self._stores:
            self._stores[name] = self._connect(name)
        return self._stores[name]


def _credentials(settings: Settings) -> dict[str, Any]:
    """The settings' keys; without any, those that boto finds in its usual places."""
    secret, token = settings.aws_secret_access_key, settings.aws_session_token
    if settings.aws_access_key_id is None or secret is None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider()}
    return {
        "access_key_id": settings.aws_access_key_id,
        "secret_access_key": secret.get_secret_value(),
        **({"session_token": token.get_secret_value()} if token else {}),
    }
