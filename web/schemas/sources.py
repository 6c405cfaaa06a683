"""Sources of a job, in and out: many photos at once."""

import datetime as dt
import uuid
from typing import Annotated, Literal, Self

from pydantic import Field, RootModel, model_validator

from db.setting_kinds import BucketName, ObjectKey
from db.sources import SourceView
from db.states import JobKind, SourceKind, SourceState
from web.schemas.base import Incoming, JsonBody, Outgoing
from web.schemas.jobs import JobIn, SourceErrorOut

MAX_SOURCES = 16
_BUCKET = "Bucket; default: that of the photos."


class PrefixIn(Incoming):
    """The objects of a bucket below a prefix."""

    kind: Literal["prefix"]
    bucket: BucketName | None = Field(None, description=_BUCKET)
    prefix: ObjectKey = Field(description="What the objects' keys begin with.")


class _FileIn(Incoming):
    """A zip or a manifest: an object, or a file that was uploaded."""

    bucket: BucketName | None = Field(None, description=_BUCKET)
    key: ObjectKey | None = Field(None, description="Key of the object.")
    upload: uuid.UUID | None = Field(
        None, description="In place of `key`: id of the upload that brought the file, and no other."
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.key is None) == (self.upload is None):
            raise ValueError("give the key of an object, or the id of an upload")
        if self.upload is not None and self.bucket is not None:
            raise ValueError("an upload has no bucket; leave it out")
        return self


class ArchiveIn(_FileIn):
    """The photos in a zip."""

    kind: Literal["archive"]


class ManifestIn(_FileIn):
    """The objects that a file names, a line each."""

    kind: Literal["manifest"]


class OtherJobIn(Incoming):
    """The photos of another job, which has ended."""

    kind: Literal["job"]
    job: uuid.UUID = Field(description="Id of the other job.")


AnySourceIn = PrefixIn | ArchiveIn | ManifestIn | OtherJobIn


class SourceIn(RootModel[Annotated[AnySourceIn, Field(discriminator="kind")]]):
    """A source: the photos below a `prefix`, in an `archive` or a `manifest`, or of a `job`."""


class SourcedJobIn(JobIn):
    """What a job is to do, and where its photos are."""

    sources: list[SourceIn] | None = Field(
        None,
        min_length=1,
        max_length=MAX_SOURCES,
        description="Where its photos are. With sources, the job takes no others.",
    )


class RematchIn(JobIn, JsonBody):
    """What is to be identified in the photos of another job."""

    kind: Literal[JobKind.IDENTIFY] = JobKind.IDENTIFY


class SourceOut(Outgoing):
    """A source, and how far it is listed."""

    id: uuid.UUID
    kind: SourceKind
    state: SourceState
    bucket: str | None = Field(description="Null: the file was sent to us.")
    key: str | None = Field(description="Of the archive or the manifest.")
    prefix: str | None
    job: uuid.UUID | None = Field(description="The other job, while it is there.")
    photos: int = Field(description="Photos of the source that the job has by now.")
    skipped: int = Field(description="What was passed over so far, because it is no photo.")
    error: SourceErrorOut | None
    created_at: dt.datetime
    finished_at: dt.datetime | None

    @classmethod
    def of(cls, view: SourceView) -> Self:
        """From what the query returned."""
        named = None if view.bucket is None else view.object_key
        is_prefix = view.kind is SourceKind.PREFIX
        return cls(
            id=view.id,
            kind=view.kind,
            state=view.state,
            bucket=view.bucket,
            key=None if is_prefix else named,
            prefix=named if is_prefix else None,
            job=view.from_job_id,
            photos=view.n_items,
            skipped=view.n_skipped,
            error=SourceErrorOut.of(
                (view.error_code, view.error_detail or "") if view.error_code else None
            ),
            created_at=view.created_at,
            finished_at=view.finished_at,
        )


class SourcesOut(Outgoing):
    """A page of a job's sources, in the order in which they were added."""

    sources: list[SourceOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")
