"""Uploads that go to the bucket past us, in and out."""

import datetime as dt
import enum
import uuid
from typing import Annotated

from pydantic import FailFast, Field, model_validator

from web.schemas.base import MAX_KNOWN, Incoming, JsonBody, Outgoing


class UploadKind(enum.StrEnum):
    """What an upload brings."""

    PHOTOS = "photos"
    ARCHIVE = "archive"
    MANIFEST = "manifest"


class UploadFileIn(Incoming):
    """A file that is to be uploaded."""

    size_bytes: int = Field(ge=1, description="Its length; the bucket takes no other.")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file, in hex: the bucket takes no other bytes then.",
    )


class UploadIn(JsonBody):
    """Files that are to be uploaded: photos, or one zip or manifest."""

    kind: UploadKind = Field(
        UploadKind.PHOTOS, description="`photos`, or one `archive` or `manifest`."
    )
    # The first that is wrong will do: a list of a thousand errors helps nobody.
    files: Annotated[list[UploadFileIn], FailFast()] = Field(min_length=1, max_length=MAX_KNOWN)

    @model_validator(mode="after")
    def _one_where_one_is_taken(self) -> "UploadIn":
        if self.kind is not UploadKind.PHOTOS and len(self.files) > 1:
            raise ValueError(f"an upload brings one {self.kind.value}; make one for each")
        return self


class UploadFileOut(Outgoing):
    """How to send a file: as multipart to `url`, with all `fields`, and last the file as `file`."""

    part: int = Field(description="Its number in the upload, from 0.")
    url: str
    fields: dict[str, str]


class UploadOut(Outgoing):
    """An upload."""

    id: uuid.UUID
    forms_expire_at: dt.datetime = Field(description="Until then sending a file may begin.")
    expires_at: dt.datetime = Field(description="Then what was sent and is in no job is deleted.")
    files: list[UploadFileOut] = Field(description="In the order in which they were named.")


class UploadedPhotoIn(Incoming):
    """A photo that was uploaded."""

    client_id: str = Field(min_length=1, max_length=500, description="Your id, unique in the job.")
    part: int = Field(ge=0, lt=MAX_KNOWN, description="Its number in the upload.")


class UploadedPhotosIn(Incoming):
    """Photos that were uploaded."""

    upload: uuid.UUID = Field(description="Id of the upload.")
    photos: Annotated[list[UploadedPhotoIn], FailFast()] = Field(min_length=1, max_length=MAX_KNOWN)

    @model_validator(mode="after")
    def _each_once(self) -> "UploadedPhotosIn":
        for name in ("client_id", "part"):
            if len({getattr(one, name) for one in self.photos}) < len(self.photos):
                raise ValueError(f"a {name} is there twice; give each photo its own")
        return self
