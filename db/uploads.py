"""Uploads: what a request is sending, so that nothing it leaves behind stays in the bucket."""

import uuid
from collections.abc import Iterable

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import UnavailableError
from db.ids import new_id
from db.models import DoomedObject, Upload


class UploadExpiredError(UnavailableError):
    """The upload took so long that it was given up; send it again."""

    code = "upload_expired"


def begin_upload(session: Session, tenant_id: int) -> uuid.UUID:
    """Announces objects below `<id>/`, before the first is sent; the caller commits."""
    upload = Upload(id=new_id(), tenant_id=tenant_id)
    session.add(upload)
    session.flush()
    return upload.id


def end_upload(session: Session, upload_id: uuid.UUID) -> None:
    """Ends the upload in the transaction that commits its photos; raises `UploadExpiredError`."""
    gone = session.scalars(delete(Upload).where(Upload.id == upload_id).returning(Upload.id)).all()
    if not gone:
        raise UploadExpiredError("the upload took too long and was given up; send it again")


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
