"""The bucket: the one place that speaks S3."""

import base64
import contextlib
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from db.errors import (
    ObjectChangedError,
    ObjectDeniedError,
    ObjectMissingError,
    ObjectRefusedError,
    StorageUnavailableError,
)
from db.loopback import leads_to_loopback
from db.object_client import ObjectClient, UnnameableKeyError
from db.refusals import refusal
from db.settings import Settings
from db.writing import StoredObject, Writer
from pipeline.errors import FaceBatchError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """An object as a list of its bucket shows it."""

    key: str
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadForm:
    """What a client sends a file with, past us: a multipart POST with these fields before it."""

    url: str
    fields: dict[str, str]


PROBE_KEY = f"{uuid.UUID(int=0)}/probe"
"""Of an object that stays once it was written, in a folder that no source may name."""


@contextlib.contextmanager
def _translated(key: str, *, foreign: bool = False, reading: bool = False) -> Iterator[None]:
    """Turns boto's errors into ours: missing objects are final, most else may pass.

    A bucket of ours that denies us something is set up wrongly, and will be put right; one of
    somebody else's has said its word. What is refused to who reads stays refused.
    """
    try:
        yield
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code")
        if code in {"NoSuchKey", "404"} or (foreign and code == "NoSuchBucket"):
            raise ObjectMissingError(f"the object {key} is not in the bucket") from exc
        if code in {"PreconditionFailed", "412"}:
            raise ObjectChangedError(f"the object {key} has changed since it was listed") from exc
        if foreign and code in {"AccessDenied", "403"}:
            raise ObjectDeniedError(f"the bucket does not let us read the object {key}") from exc
        if reading and (refused := refusal(_status(exc), code)):
            raise refused from exc
        raise StorageUnavailableError("the bucket refused a request") from exc
    except BotoCoreError as exc:
        raise StorageUnavailableError("the bucket does not answer") from exc


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


class _Once:
    """A client of boto's, made when it is first asked for.

    To load boto takes a third of a second, and who reads and writes photos has no need of it.
    """

    _lock = threading.Lock()  # For all of them: they are made of one session, which has none.

    def __init__(self, make: Callable[[], "S3Client"]) -> None:
        self._make = make
        self._made: S3Client | None = None

    def __call__(self) -> "S3Client":
        if self._made is None:
            with self._lock:
                self._made = self._made or self._make()
        return self._made


def _client(settings: Settings, url: SecretStr | None) -> "S3Client":
    from db.bucket_client import bucket_client

    return bucket_client(settings, url)


class ObjectStore:
    """The photos' bucket, and others by name. To be shared by threads, not by processes."""

    def __init__(
        self,
        connect: Callable[[], "S3Client"],
        objects: ObjectClient,
        bucket: str,
        connect_signing: Callable[[], "S3Client"] | None = None,
    ) -> None:
        self._boto = _Once(connect)
        self._objects = objects
        self._bucket = bucket
        self._boto_signing = _Once(connect_signing) if connect_signing else self._boto

    @property
    def _client(self) -> "S3Client":
        return self._boto()

    @property
    def _signing(self) -> "S3Client":
        """Signs for clients, who may know the server by another address."""
        return self._boto_signing()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Goes by the settings' addresses and keys."""
        endpoint, public = settings.s3_endpoint_url, settings.s3_public_endpoint_url
        direct = leads_to_loopback(endpoint.get_secret_value() if endpoint else None)
        return cls(
            lambda: _client(settings, endpoint),
            ObjectClient.from_settings(settings, direct=direct),
            settings.s3_bucket,
            (lambda: _client(settings, public)) if public else None,
        )

    def ensure_bucket(self) -> None:
        """Creates the bucket where it does not exist."""
        with _translated(self._bucket):
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except ClientError as exc:
                if exc.response.get("Error", {}).get("Code") not in {"404", "NoSuchBucket"}:
                    raise
                with contextlib.suppress(self._client.exceptions.BucketAlreadyOwnedByYou):
                    self._create_bucket()

    def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        if region == "us-east-1":
            self._client.create_bucket(Bucket=self._bucket)  # The one region that must not be said.
        else:
            self._client.create_bucket(
                Bucket=self._bucket,
                CreateBucketConfiguration={
                    "LocationConstraint": cast("BucketLocationConstraintType", region)
                },
            )

    def ping(self) -> None:
        """Raises `StorageUnavailableError` unless the bucket is there and admits us."""
        try:
            with _translated(self._bucket):
                self._client.head_bucket(Bucket=self._bucket)
        except ObjectMissingError as exc:
            raise StorageUnavailableError("the bucket does not exist") from exc

    def prove(self, bucket: str | None) -> None:
        """Raises `StorageUnavailableError` unless the server does its work for other objects.

        It must take one of ours and give it back, and answer for `bucket`, be it with a refusal.
        """
        self.ping()  # Some servers make a bucket of any that something is put into.
        self._objects.put(PROBE_KEY, b"ok")
        try:
            self._objects.get(PROBE_KEY, bucket=None, etag=None, span=None)
        except FaceBatchError as exc:
            raise StorageUnavailableError("the bucket does not give back what it took") from exc
        if bucket is not None:
            with (
                contextlib.suppress(ObjectMissingError, ObjectDeniedError, ObjectRefusedError),
                _translated(bucket, foreign=True, reading=True),
            ):
                self._client.head_bucket(Bucket=bucket)

    def get(
        self,
        key: str,
        *,
        bucket: str | None = None,
        etag: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytes:
        """The object's bytes, or those of `span`: its offset and length.

        In our bucket where none is named. With `etag`, of that very object alone. A span that
        reaches beyond the object's end gives what there is. Raises `ObjectMissingError`,
        `ObjectChangedError`, `ObjectDeniedError`, `ObjectRefusedError` or
        `StorageUnavailableError`.
        """
        try:
            return self._objects.get(key, bucket=bucket, etag=etag, span=span)
        except UnnameableKeyError:
            return self._get(key, bucket=bucket, etag=etag, span=span)

    def _get(
        self, key: str, *, bucket: str | None, etag: str | None, span: tuple[int, int] | None
    ) -> bytes:
        wanted: GetObjectRequestTypeDef = {"Bucket": bucket or self._bucket, "Key": key}
        if etag is not None:
            wanted["IfMatch"] = etag
        if span is not None:
            wanted["Range"] = f"bytes={span[0]}-{span[0] + span[1] - 1}"
        with _translated(key, foreign=bucket is not None, reading=True):
            try:
                return self._client.get_object(**wanted)["Body"].read()
            except ClientError as exc:
                if exc.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                    return b""  # The span begins where the object has ended.
                raise

    def head(self, key: str, *, bucket: str | None = None) -> ListedObject:
        """Size and version of an object; raises what `get` raises."""
        with _translated(key, foreign=bucket is not None, reading=True):
            try:
                found = self._client.head_object(Bucket=bucket or self._bucket, Key=key)
            except ClientError as exc:
                if _status(exc) == 400:
                    # No answer to this request has a body, which alone tells whether the object is
                    # refused or we are: our keys may have expired.
                    self._get(key, bucket=bucket, etag=None, span=(0, 1))
                    raise StorageUnavailableError("the bucket refused a request") from exc
                raise
        return ListedObject(key=key, etag=found["ETag"], size_bytes=found["ContentLength"])

    def page(
        self, prefix: str, *, bucket: str | None = None, after: str = "", limit: int = 1000
    ) -> list[ListedObject]:
        """Objects whose keys begin with `prefix`, those behind the key `after`; none at the end.

        The order is the server's own: S3 goes by bytes, others by folders. Raises
        `ObjectMissingError` where a bucket that is named does not exist, `ObjectDeniedError`,
        `ObjectRefusedError`, `StorageUnavailableError`.
        """
        with _translated(prefix, foreign=bucket is not None, reading=True):
            found = self._client.list_objects_v2(
                Bucket=bucket or self._bucket, Prefix=prefix, StartAfter=after, MaxKeys=limit
            )
        return [
            ListedObject(key=one["Key"], etag=one["ETag"], size_bytes=one["Size"])
            for one in found.get("Contents", [])
        ]

    def upload_form(
        self,
        key: str,
        *,
        size_bytes: int,
        sha256: bytes | None = None,
        for_s: int,
    ) -> UploadForm:
        """A form that uploads one file of that size to `key`; it can be used for `for_s` seconds.

        With `sha256`, the bucket takes no other bytes. Nothing is asked of the bucket.
        """
        fields: dict[str, Any] = {}
        if sha256 is not None:
            fields["x-amz-checksum-algorithm"] = "SHA256"
            fields["x-amz-checksum-sha256"] = base64.b64encode(sha256).decode()
        made = self._signing.generate_presigned_post(
            self._bucket,
            key,
            Fields=fields,
            Conditions=[
                ["content-length-range", size_bytes, size_bytes],
                *({name: value} for name, value in fields.items()),
            ],
            ExpiresIn=for_s,
        )
        return UploadForm(url=made["url"], fields=made["fields"])

    def put(self, key: str, chunks: Iterable[bytes]) -> StoredObject:
        """Streams `chunks` into `key` and returns its SHA-256 and size.

        At most two parts of 5 MiB are in memory. Where an error leaves `chunks` or S3, nothing
        is left in the bucket but a part upload that was aborted. Where that fails, it raises
        `StorageUnavailableError`, whatever the error was.
        """
        writer = Writer(self._boto, self._objects, self._bucket, key)
        with _translated(key):
            try:
                for chunk in chunks:
                    writer.write(chunk)
                return writer.finish()
            except BaseException:
                writer.abort()
                raise

    def link(self, key: str, *, file_name: str, media_type: str, valid_s: int) -> str:
        """An address from which whoever has it gets the object, for so long, as a download."""
        return self._signing.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{file_name}"',
                "ResponseContentType": media_type,
            },
            ExpiresIn=valid_s,
        )

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes the objects; one that is not there is no error."""
        for key in keys:
            with _translated(key), contextlib.suppress(ObjectMissingError):
                self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with `prefix`."""
        with _translated(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield entry["Key"]

    def abort_uploads(self, prefix: str) -> None:
        """Aborts part uploads below `prefix` that nobody finished."""
        with _translated(prefix):
            found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix)
            for upload in found.get("Uploads", []):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
