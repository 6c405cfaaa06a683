"""Uploads past the server, and exports of results."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx

from facebatch.client.answers import checked
from facebatch.client.connection import Connection
from facebatch.client.fields import Id, as_json
from facebatch.client.models.files import (
    Export,
    ExportFormat,
    Exports,
    StreamedFormat,
    Upload,
    UploadForm,
    UploadKind,
)
from facebatch.client.photos import Source, opened, size_bytes
from facebatch.errors import ServerAwayError


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToUpload:
    """What the bucket is to take, and nothing else."""

    size_bytes: int
    sha256: str | None = None
    """In hex."""


class UploadCalls:
    """`client.uploads`: files that go right to the bucket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, kind: UploadKind, files: Sequence[FileToUpload]) -> Upload:
        """Forms by which the files may be sent: photos, or one archive or manifest."""
        wanted = [as_json({"size_bytes": one.size_bytes, "sha256": one.sha256}) for one in files]
        body = {"kind": kind, "files": wanted}
        return self._connection.post(Upload, "/v1/uploads", json=body, once=True)

    def send(
        self,
        form: UploadForm,
        source: Source,
        *,
        progress: Callable[[int], None] = lambda _sent: None,
    ) -> None:
        """Sends a file to the bucket, and tells how many bytes are gone; raises `OSError`."""

        def send() -> httpx.Response:
            with opened(source, progress) as file:
                return self._connection.http.post(form.url, data=form.fields, files={"file": file})

        checked(self._connection.answered(send))

    def send_one(
        self,
        kind: UploadKind,
        source: Source,
        *,
        progress: Callable[[int], None] = lambda _sent: None,
    ) -> Upload:
        """An upload of one file, which is sent; raises `OSError`."""
        upload = self.create(kind, [FileToUpload(size_bytes=size_bytes(source))])
        self.send(upload.files[0], source, progress=progress)
        return upload


class ExportCalls:
    """`client.exports`: a job's results as a file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def stream(self, job: Id, format: StreamedFormat) -> Iterator[Iterator[bytes]]:  # noqa: A002
        """The file as it is made, in pieces.

        Raises `ServerAwayError` where it breaks off: what came by then is no export.
        """
        http = self._connection.http
        request = http.build_request("GET", f"/v1/jobs/{job}/export", params={"format": format})

        def send() -> httpx.Response:
            response = http.send(request, stream=True)
            if not response.is_success:
                response.read()
            return response

        response = checked(self._connection.answered(send))
        with contextlib.closing(response):
            yield self._pieces(response)

    def _pieces(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx.TransportError as exc:
            raise ServerAwayError(
                f"the export broke off ({type(exc).__name__}): what came is not whole"
            ) from exc

    def create(
        self,
        job: Id,
        format: ExportFormat,  # noqa: A002 - it is the API's name for it.
        *,
        unknown_faces: bool | None = None,
    ) -> Export:
        """An export that a worker writes into the bucket; `get` tells where, once it is done."""
        body = as_json({"format": format, "unknown_faces": unknown_faces})
        return self._connection.post(Export, f"/v1/jobs/{job}/exports", json=body, once=True)

    def list(self, job: Id) -> Sequence[Export]:
        """The job's exports, the latest first."""
        return self._connection.read(Exports, f"/v1/jobs/{job}/exports").exports

    def get(self, job: Id, export: Id) -> Export:
        """How the export stands, and a fresh link to it."""
        return self._connection.read(Export, f"/v1/jobs/{job}/exports/{export}")

    def delete(self, job: Id, export: Id) -> None:
        """Deletes the export with its file."""
        self._connection.delete(f"/v1/jobs/{job}/exports/{export}")
