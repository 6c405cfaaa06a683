"""Uploads: what is on its way to us, so that nothing it leaves behind stays in the bucket."""

import datetime as dt
import uuid
from collections.abc import Iterable

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import UnavailableError, UploadNotFoundError
from db.ids import new_id
from db.models import DoomedObject, Upload


class UploadExpiredError(UnavailableError):
    """The upload took so long that it was given up; send it again."""

    code = "upload_expired"


REQUEST_AGE = dt.timedelta(hours=1)
"""An upload whose request did not commit in so long is given up, unless it was prolonged."""
FOLDER_AGE = dt.timedelta(minutes=5)
"""So long requests that come may share an upload; those that began have `REQUEST_AGE` from then."""
FORMS_AGE = dt.timedelta(hours=1)
"""So long a client may begin to send a file with a form."""
DIRECT_AGE = dt.timedelta(hours=24)
"""So long an upload by forms is kept: the largest files have arrived by then, and are named."""

NO_UPLOAD = "there is no such upload, or it was given up; send it again"


_BEGIN = text("""
    INSERT INTO upload (id, tenant_id, expires_at, expected_bytes)
    VALUES (:id, :tenant_id, now() + CAST(:kept_for AS interval), :expected_bytes)
""")


def begin_upload(
    session: Session,
    tenant_id: int,
    *,
    kept_for: dt.timedelta | None = None,
    expected_bytes: int = 0,
) -> uuid.UUID:
    """Announces objects below `<id>/`, before the first is sent; the caller commits.

    `expected_bytes` may come past us, and count as the tenant's until they have or the upload ends.
    """
    upload_id = new_id()
    values = {
        "id": upload_id,
        "tenant_id": tenant_id,
        "kept_for": kept_for,
        "expected_bytes": expected_bytes,
    }
    session.execute(_BEGIN, values)
    return upload_id


def prolong_upload(session: Session, upload_id: uuid.UUID) -> None:
    """Keeps an upload whose request is still at it; raises `UploadExpiredError`.

    One that is kept for longer anyhow stays as it is: others may have put something there too.
    """
    prolonged = session.scalars(
        update(Upload)
        .where(Upload.id == upload_id)
        .values(expires_at=func.greatest(Upload.expires_at, func.now() + REQUEST_AGE))
        .returning(Upload.id)
    ).all()
    if not prolonged:
        raise expired_upload()


def require_upload(session: Session, tenant_id: int, upload_id: uuid.UUID) -> None:
    """Raises `UploadNotFoundError` where the tenant has no such upload."""
    query = select(Upload.id).where(Upload.tenant_id == tenant_id, Upload.id == upload_id)
    if session.scalars(query).one_or_none() is None:
        raise UploadNotFoundError(NO_UPLOAD)


def hold_upload(session: Session, tenant_id: int, upload_id: uuid.UUID) -> None:
    """Sees to it that the upload is not given up before the commit.

    What is committed of it is not swept either. Raises `UploadNotFoundError`.
    """
    query = select(Upload.id).where(Upload.tenant_id == tenant_id, Upload.id == upload_id)
    if session.scalars(query.with_for_update()).one_or_none() is None:
        raise UploadNotFoundError(NO_UPLOAD)


def hold_folder(session: Session, upload_id: uuid.UUID) -> None:
    """As `hold_upload`, for requests that share the upload: they do not wait for each other.

    Raises `UploadExpiredError`.
    """
    query = select(Upload.id).where(Upload.id == upload_id)
    if session.scalars(query.with_for_update(read=True, key_share=True)).one_or_none() is None:
        raise expired_upload()


def expect_less(session: Session, upload_id: uuid.UUID, size_bytes: int) -> None:
    """Of an upload that is held so many bytes have become a photo's or an archive's."""
    session.execute(
        update(Upload)
        .where(Upload.id == upload_id)
        .values(expected_bytes=func.greatest(Upload.expected_bytes - size_bytes, 0))
    )


def end_upload(session: Session, upload_id: uuid.UUID) -> None:
    """Ends an upload of which all is committed or doomed; raises `UploadExpiredError`."""
    gone = session.scalars(delete(Upload).where(Upload.id == upload_id).returning(Upload.id)).all()
    if not gone:
        raise expired_upload()


def expired_upload() -> UploadExpiredError:
    """The error that an upload was given up before its photos were committed."""
    return UploadExpiredError("the upload took too long and was given up; send it again")


def abandon_upload(
    session: Session, tenant_id: int, upload_id: uuid.UUID, keys: Iterable[str]
) -> None:
    """Gives the upload up and dooms the objects it had sent; no photo of it can come any more.

    Raises `UploadExpiredError` where it is committed or given up already: nothing is doomed then.
    """
    end_upload(session, upload_id)
    rows = [{"object_key": key, "tenant_id": tenant_id} for key in keys]
    if rows:
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)
