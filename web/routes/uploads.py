"""Uploads past us: forms with which clients send files to the bucket themselves."""

import datetime as dt
from http import HTTPStatus

from flask import Response

from db.session import Session, retried
from db.uploads import DIRECT_AGE, FORMS_AGE, begin_upload
from web.answers import answer
from web.claims import kept
from web.openapi import SOURCES, blueprint, problems
from web.schemas.uploads import UploadFileOut, UploadIn, UploadOut
from web.services import services
from web.uploading import check_sizes, form

api = blueprint("uploads", __name__, SOURCES)


@api.post(
    "/uploads",
    description="For each file a form: a multipart POST of its fields and the file sends it. Then "
    "name the upload where its photos or its file are to go.",
    responses={201: UploadOut, **problems(400, 413, 415, 422, 503)},
)
def create_upload(body: UploadIn) -> Response:
    """Get forms with which to send files to the bucket directly."""
    here = services()
    check_sizes(here.settings, body)
    now = dt.datetime.now(dt.UTC)

    def work(session: Session) -> Response:
        with here.quotas.kept(session, here.tenant_id):
            upload_id = begin_upload(
                session,
                here.tenant_id,
                kept_for=DIRECT_AGE,
                expected_bytes=sum(one.size_bytes for one in body.files),
            )
        forms = [form(here, upload_id, part, one) for part, one in enumerate(body.files)]
        made = UploadOut(
            id=upload_id,
            forms_expire_at=now + FORMS_AGE,
            expires_at=now + DIRECT_AGE,
            files=[
                UploadFileOut(part=part, url=one.url, fields=one.fields)
                for part, one in enumerate(forms)
            ],
        )
        return kept(session, answer(made, HTTPStatus.CREATED))

    return retried(here.database, work)
