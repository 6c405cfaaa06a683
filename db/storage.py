"""The bucket: the one place that speaks S3."""

import base64
import contextlib
import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from db.errors import (
    ObjectChangedError,
    ObjectDeniedError,
    ObjectMissingError,
    StorageUnavailableError,
)
from db.reading import Reader, UnnameableKeyError
from db.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectRequestTypeDef

PART_BYTES = 5 * 1024 * 1024  # S3's smallest part.


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What was written."""

    key: str
    sha256: bytes
    size_bytes: int


@contextlib.contextmanager
def _translated(key: str, *, foreign: bool = False) -> Iterator[None]:
    """Turns boto's errors into ours: missing objects are final, most else may pass.

    A bucket of ours that denies us something is set up wrongly, and will be put right; one of
    somebody else's has said its word.
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
        raise StorageUnavailableError("the bucket refused a request") from exc
    except BotoCoreError as exc:
        raise StorageUnavailableError("the bucket does not answer") from exc


class ObjectStore:
    """The photos' bucket. Safe to share between threads, not between processes."""

    def __init__(self, client: "S3Client", reader: Reader, bucket: str) -> None:
        self._client = client
        self._reader = reader
        self._bucket = bucket

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Connects with the settings' addresses and keys."""
        endpoint = settings.s3_endpoint_url.get_secret_value() if settings.s3_endpoint_url else None
        secret, token = settings.aws_secret_access_key, settings.aws_session_token
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=settings.aws_access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            aws_session_token=token.get_secret_value() if token else None,
            region_name=settings.aws_region,
            config=Config(
                # boto3 would sign links in the old way, which is not taken everywhere.
                signature_version="s3v4",
                connect_timeout=3,
                # Together less than half a lease: a bucket that hangs must not look like a worker
                # that died.
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 2},
                # Loopback has no proxy, whatever the environment says. None: what it says.
                proxies={} if _is_loopback(endpoint) else None,
                max_pool_connections=32,
                # One URL form works everywhere: most S3-compatible servers have no wildcard DNS.
                s3={"addressing_style": "path"},
                # Photos already are compressed, and have a SHA-256 of ours.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        reader = Reader.from_settings(settings, direct=_is_loopback(endpoint))
        return cls(client, reader, settings.s3_bucket)

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
        `ObjectChangedError`, `ObjectDeniedError` or `StorageUnavailableError`.
        """
        try:
            return self._reader.get(key, bucket=bucket, etag=etag, span=span)
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
        with _translated(key, foreign=bucket is not None):
            try:
                return self._client.get_object(**wanted)["Body"].read()
            except ClientError as exc:
                if exc.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                    return b""  # The span begins where the object has ended.
                raise

    def put(self, key: str, chunks: Iterable[bytes]) -> StoredObject:
        """Streams `chunks` into `key` and returns its SHA-256 and size.

        At most two parts of 5 MiB are in memory. Where an error leaves `chunks` or S3, nothing
        is left in the bucket but a part upload that was aborted.
        """
        writer = _Writer(self._client, self._bucket, key)
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
        return self._client.generate_presigned_url(
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


def _is_loopback(endpoint: str | None) -> bool:
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Writer:
    """Writes one object: in one request where it is small, else in parts."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def write(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._size_bytes += len(chunk)
        self._buffer += chunk
        while len(self._buffer) > PART_BYTES:
            self._send_part(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    def finish(self) -> StoredObject:
        sha256 = self._hash.digest()
        if self._upload_id is None:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=bytes(self._buffer),
                ChecksumSHA256=base64.b64encode(sha256).decode(),
            )
        else:
            self._send_part(bytes(self._buffer))
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        return StoredObject(key=self._key, sha256=sha256, size_bytes=self._size_bytes)

    def abort(self) -> None:
        if self._upload_id is None:
            return
        # The error that brought us here matters more; the reconciler aborts what stays.
        with contextlib.suppress(ClientError, BotoCoreError):
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
            )

    def _send_part(self, body: bytes) -> None:
        if self._upload_id is None:
            started = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=self._key, ChecksumAlgorithm="SHA256"
            )
            self._upload_id = started["UploadId"]
        number = len(self._parts) + 1
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        sent = self._client.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=body,
            ChecksumSHA256=checksum,
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum})
