"""Accept: photos from a request into the bucket, then into the ledger, or nothing at all."""

import contextlib
import itertools
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog
from flask import Request

from db.erase import doom_unused
from db.errors import DatabaseUnavailableError, UnavailableError
from db.failpoints import Failpoint, reached
from db.session import Session, transaction
from db.sources import NewArchive
from db.states import QuotaKind
from db.uploads import hold_folder
from db.views import NewItem
from pipeline.errors import EmptyFileError, FileTooLargeError, PhotoError
from pipeline.names import MAX_FILE_NAME_CHARS, storable
from web.errors import FileNameError, InvalidRequestError, NoPhotoError, TooManyPhotosError
from web.folders import Folder
from web.incoming import FieldPart, FilePart, read_parts
from web.patience import sending
from web.services import Services
from web.uploading import archive_chunks

log = structlog.get_logger()
MAX_PHOTOS = 1000
"""Photos in one request. A larger job is opened first and gets its photos bit by bit."""
MAX_ARCHIVES = 16
MAX_FIELDS = 20
MAX_FIELD_NAME_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a multipart request brought; its photos lie in the bucket, and no row knows them."""

    upload_id: uuid.UUID
    fields: dict[str, str]
    photos: tuple[NewItem, ...]
    """Those that are empty or too large carry an error and have no object."""
    references: tuple[NewItem, ...] = ()
    """Photos likewise, with which the others are to be compared."""
    archives: tuple[NewArchive, ...] = ()
    """Zips, of which nothing has been read."""

    @property
    def options(self) -> dict[str, str]:
        """The fields that were filled in: forms send those that were left alone as empty."""
        return {name: value for name, value in self.fields.items() if value}

    def settle(self, session: Session) -> None:
        """Holds the upload, in the transaction that commits its photos."""
        hold_folder(session, self.upload_id)
        reached(Failpoint.ACCEPT_UNCOMMITTED)


@contextlib.contextmanager
def received(
    services: Services,
    request: Request,
    *,
    photo_field: str,
    archive_field: str | None = None,
    reference_field: str | None = None,
    named: bool = False,
) -> Iterator[Received]:
    """Streams the request's photos into the bucket, and zips and references where they have fields.

    Where they must be `named`, one that comes without a file name is refused; else it is called
    "photo". The caller commits them inside the context, with `Received.settle`. Where anything is
    raised before that, the objects are deleted again. Photos are named for an open job, and have a
    new one else: where there is surely no room for it, nothing is read. Raises `RequestError`,
    `QuotaExceededError`, `UnavailableError`.
    """
    with contextlib.ExitStack() as until_read, contextlib.ExitStack() as until_settled:
        until_read.enter_context(sending())
        kinds = (QuotaKind.OPEN_PHOTOS, *(() if named else (QuotaKind.OPEN_JOBS,)))
        services.quotas.require_room(services.database, services.tenant_id, *kinds)
        below = until_settled.enter_context(_below(services))
        parts = _named(read_parts(request)) if named else read_parts(request)
        reader = _Reader(services, below)
        reader.read(parts, photo_field, archive_field, reference_field)
        until_read.close()
        yield Received(
            upload_id=below.upload_id,
            fields=reader.fields,
            photos=tuple(reader.photos),
            references=tuple(reader.references),
            archives=tuple(reader.archives),
        )
        reached(Failpoint.ACCEPTED)


@contextlib.contextmanager
def received_bytes(services: Services, data: bytes, *, name: str) -> Iterator[Received]:
    """Puts one photo into the bucket that is here already; for the rest as `received`.

    Raises `EmptyFileError`, `UnavailableError`.
    """
    if not data:
        raise EmptyFileError("the file is empty; send the photo's bytes")
    with _below(services) as below:
        stored = services.store.put(below.new_key(), [data])
        photo = NewItem(
            name=name, sha256=stored.sha256, size_bytes=stored.size_bytes, object_key=stored.key
        )
        yield Received(upload_id=below.upload_id, fields={}, photos=(photo,))
        reached(Failpoint.ACCEPTED)


def checked_file_name(name: str) -> str:
    """The name; raises `FileNameError` where it cannot be kept as it is."""
    if len(name) > MAX_FILE_NAME_CHARS:
        raise FileNameError(
            f"a file name has {len(name)} characters; at most {MAX_FILE_NAME_CHARS} are allowed"
        )
    if not storable(name):
        raise FileNameError("a file name has control characters in it; send another name")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Below:
    """A request's share of a folder: the keys that it has put something under, or was about to."""

    folder: Folder
    keys: list[str] = field(default_factory=list)

    @property
    def upload_id(self) -> uuid.UUID:
        return self.folder.upload_id

    def new_key(self) -> str:
        """It is noted before anything can be written under it."""
        self.keys.append(self.folder.new_key())
        return self.keys[-1]


class _Reader:
    """Takes the parts of a request apart."""

    def __init__(self, services: Services, below: _Below) -> None:
        self._services = services
        self._below = below
        self.fields: dict[str, str] = {}
        self.photos: list[NewItem] = []
        self.references: list[NewItem] = []
        self.archives: list[NewArchive] = []

    def read(
        self,
        parts: Iterable[FieldPart | FilePart],
        photo_field: str,
        archive_field: str | None,
        reference_field: str | None,
    ) -> None:
        for part in parts:
            if len(part.name) > MAX_FIELD_NAME_CHARS:
                raise InvalidRequestError(
                    f"a form field's name has more than {MAX_FIELD_NAME_CHARS} characters"
                )
            if isinstance(part, FieldPart):
                if part.name in {photo_field, archive_field, reference_field}:
                    raise InvalidRequestError(
                        f"'{part.name}' must be a file (curl: -F {part.name}=@FILE)"
                    )
                _add_field(self.fields, part)
            elif part.name == photo_field:
                self._add_photo(part, self.photos)
            elif part.name == reference_field:
                self._add_photo(part, self.references)
            elif part.name == archive_field:
                self._add_archive(part)
            else:
                raise InvalidRequestError(
                    f"files are taken as form field '{photo_field}', and one came as '{part.name}'"
                )
        if not self.photos and not self.archives:
            raise NoPhotoError(
                f"the request brings no photo; send one or more as form field '{photo_field}'"
            )

    def _add_photo(self, part: FilePart, photos: list[NewItem]) -> None:
        if len(photos) >= MAX_PHOTOS:
            raise TooManyPhotosError(
                f"a request may bring {MAX_PHOTOS} photos; open a job and add them in parts"
            )
        if (photo := _photo(self._services, part, self._below)) is not None:
            photos.append(photo)

    def _add_archive(self, part: FilePart) -> None:
        if len(self.archives) >= MAX_ARCHIVES:
            raise TooManyPhotosError(
                f"a request may bring {MAX_ARCHIVES} archives; open a job and add them in parts"
            )
        first = next(part.chunks, None)
        if first is None:
            if part.filename:
                raise NoPhotoError("the archive is empty; send the zip's bytes")
            return  # What a browser sends for a file control that was left alone.
        chunks = archive_chunks(
            self._services, self._below.upload_id, itertools.chain([first], part.chunks)
        )
        stored = self._services.store.put(self._below.new_key(), chunks)
        self.archives.append(
            NewArchive(object_key=stored.key, size_bytes=stored.size_bytes, sha256=stored.sha256)
        )


def _add_field(fields: dict[str, str], part: FieldPart) -> None:
    if part.name in fields:
        raise InvalidRequestError(f"the field '{part.name}' is sent twice; send it once")
    if len(fields) >= MAX_FIELDS:
        raise InvalidRequestError(f"a request has at most {MAX_FIELDS} form fields")
    fields[part.name] = part.value


def _named(parts: Iterable[FieldPart | FilePart]) -> Iterator[FieldPart | FilePart]:
    """The parts; raises `FileNameError` at a file that has bytes and no name."""
    for part in parts:
        if isinstance(part, FilePart) and not part.filename:
            if next(part.chunks, None) is not None:
                raise FileNameError(
                    "a photo came without a file name, which an open job takes for its client_id"
                )
            continue  # What a browser sends for a file control that was left alone.
        yield part


def _photo(services: Services, part: FilePart, below: _Below) -> NewItem | None:
    """One file: stored, or refused with the error of its item. None for an empty form control."""
    name = checked_file_name(part.filename)
    first = next(part.chunks, None)
    if first is None and not name:
        return None  # What a browser sends for a file control that was left alone.
    name = name or "photo"
    try:
        if first is None:
            raise EmptyFileError("the file is empty; send the photo's bytes")
        chunks = _limited(itertools.chain([first], part.chunks), services.settings.max_upload_bytes)
        stored = services.store.put(below.new_key(), chunks)
        reached(Failpoint.PHOTO_STORED)
    except PhotoError as exc:
        return NewItem(name=name, error_code=exc.code, error_detail=str(exc))
    return NewItem(
        name=name, sha256=stored.sha256, size_bytes=stored.size_bytes, object_key=stored.key
    )


def _limited(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise FileTooLargeError(
                f"the file has more bytes than the {max_bytes} allowed; send a smaller one"
            )
        yield chunk


@contextlib.contextmanager
def _below(services: Services) -> Iterator[_Below]:
    """Room in a folder; what the request has put there is doomed where anything is raised."""
    with services.folders.entered(services.tenant_id) as folder:
        below = _Below(folder=folder)
        try:
            yield below
        except DatabaseUnavailableError:
            raise  # Whether the photos were committed is not known: the folder will be swept.
        except Exception:
            _doom(services, below)
            raise


def _doom(services: Services, below: _Below) -> None:
    try:
        with transaction(services.database) as session:
            doom_unused(session, services.tenant_id, below.keys)
    except UnavailableError as exc:
        below.folder.is_unclear = True
        log.warning("upload_left_behind", upload_id=str(below.upload_id), code=exc.code)
