"""Writing one object of whatever length, in parts where it is large."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.object_client import ObjectClient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 5 * 1024 * 1024  # S3's smallest part.


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What was written."""

    key: str
    sha256: bytes
    size_bytes: int


class Writer:
    """Writes one object: in one request where it is small, else in parts."""

    def __init__(
        self, boto: Callable[[], "S3Client"], objects: ObjectClient, bucket: str, key: str
    ) -> None:
        self._boto = boto
        self._objects = objects
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
            self._objects.put(self._key, bytes(self._buffer))
        else:
            self._send_part(bytes(self._buffer))
            self._boto().complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        return StoredObject(key=self._key, sha256=sha256, size_bytes=self._size_bytes)

    def abort(self) -> None:
        """Takes back what was sent.

        Raises boto's errors, even in place of what brought us here: whoever hears that the bucket
        failed sees to it that it is looked through later.
        """
        if self._upload_id is not None:
            self._boto().abort_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
            )

    def _send_part(self, body: bytes) -> None:
        if self._upload_id is None:
            started = self._boto().create_multipart_upload(
                Bucket=self._bucket, Key=self._key, ChecksumAlgorithm="SHA256"
            )
            self._upload_id = started["UploadId"]
        number = len(self._parts) + 1
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        sent = self._boto().upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=body,
            ChecksumSHA256=checksum,
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum})
