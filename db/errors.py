"""What the stores and the queries refuse."""

from collections.abc import Sequence

from db.states import QuotaKind
from pipeline.errors import FaceBatchError, PhotoError


class NotFoundError(FaceBatchError):
    """A row that the tenant does not have."""

    code = "not_found"


class GalleryNotFoundError(NotFoundError):
    """No such gallery."""

    code = "gallery_not_found"


class SubjectNotFoundError(NotFoundError):
    """No such subject in the gallery."""

    code = "subject_not_found"


class JobNotFoundError(NotFoundError):
    """No such job."""

    code = "job_not_found"


class FaceNotFoundError(NotFoundError):
    """The job has no such face, or not any more."""

    code = "face_not_found"


class PhotoGoneError(NotFoundError):
    """The photo from which a face is to be cut is not in its bucket any more, or is another one."""

    code = "photo_gone"


class UploadNotFoundError(NotFoundError):
    """No such upload; it may have been given up."""

    code = "upload_not_found"


class ExportNotFoundError(NotFoundError):
    """The job has no such export, or not any more."""

    code = "export_not_found"


class WebhookNotFoundError(NotFoundError):
    """The tenant has no such webhook."""

    code = "webhook_not_found"


class DeliveryNotFoundError(NotFoundError):
    """No such delivery, or not any more."""

    code = "delivery_not_found"


class CallbackSecretMissingError(NotFoundError):
    """The tenant has no secret that callbacks are signed with."""

    code = "callback_secret_missing"


class KeyNotFoundError(NotFoundError):
    """The tenant has no such API key."""

    code = "key_not_found"


class TenantNotFoundError(NotFoundError):
    """No tenant has this name."""

    code = "tenant_not_found"


class TenantNameError(FaceBatchError):
    """A tenant cannot have this name."""

    code = "tenant_name_invalid"


class SubjectRequiredError(FaceBatchError):
    """A photo to enrol comes without the subject to enrol it for."""

    code = "subject_required"


class SubjectNotAllowedError(FaceBatchError):
    """Photos name a subject, and their job enrols for nobody or for somebody else."""

    code = "subject_not_allowed"


class ConflictError(FaceBatchError):
    """The request does not fit what is there."""

    code = "conflict"


class GalleryExistsError(ConflictError):
    """The tenant has a gallery of this name."""

    code = "gallery_exists"


class DuplicateSubjectError(ConflictError):
    """The gallery has a subject of this name."""

    code = "duplicate_subject"


class NamesTakenError(DuplicateSubjectError):
    """The gallery has subjects of these names. The message has none of them: it may be logged."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"the gallery has {len(names)} of the subjects already")
        self.names = tuple(names)


class GalleryEngineError(ConflictError):
    """The gallery is bound to another engine, or another version of it, than the embeddings."""

    code = "gallery_engine_differs"


class DuplicateItemError(ConflictError):
    """The job has another photo under this id."""

    code = "duplicate_item"


class JobSealedError(ConflictError):
    """The job takes no further photos."""

    code = "job_sealed"


class JobEndedError(ConflictError):
    """The job has ended or is about to: it can be neither paused nor resumed."""

    code = "job_ended"


class JobCancelledError(ConflictError):
    """The job was cancelled: nothing of it is tried again."""

    code = "job_cancelled"


class GalleriesDifferError(ConflictError):
    """The galleries to search together are not of one engine and version."""

    code = "galleries_differ"


class EnginesDifferError(ConflictError):
    """Faces that are to be compared were searched by two engines, or versions of one."""

    code = "engines_differ"


class TooManyExportsError(ConflictError):
    """The job has as many exports as it may have at a time."""

    code = "too_many_exports"


class TooManyWebhooksError(ConflictError):
    """The tenant has as many webhooks as it may have."""

    code = "too_many_webhooks"


class WebhookDisabledError(ConflictError):
    """The webhook is disabled: nothing is sent to it."""

    code = "webhook_disabled"


class DeliveryUnderWayError(ConflictError):
    """The delivery is being sent at this moment."""

    code = "delivery_under_way"


class KeyEndedError(ConflictError):
    """The API key is not good any more, or was replaced: no other can be made in its place."""

    code = "key_ended"


class TenantExistsError(ConflictError):
    """There is a tenant of this name."""

    code = "tenant_exists"


class EmptyJobError(ConflictError):
    """A job without photos cannot be sealed."""

    code = "job_empty"


class SearchTooLargeError(ConflictError):
    """The search would compare more pairs than one request may."""

    code = "search_too_large"


class UploadIncompleteError(ConflictError):
    """The upload's file has not been sent."""

    code = "upload_incomplete"


class JobUnfinishedError(ConflictError):
    """The other job, whose photos are asked for, has not ended."""

    code = "job_unfinished"


class SourceNotAllowedError(FaceBatchError):
    """A source lies where none may."""

    code = "source_not_allowed"


class SourceError(FaceBatchError):
    """A source that cannot be listed, or no further, whoever tries and however often."""

    code = "source_unusable"


class SourceEmptyError(SourceError):
    """There is no photo in the source."""

    code = "source_empty"


class SourceMissingError(SourceError):
    """The bucket, the archive, the manifest or the other job is not there, or not any more."""

    code = "source_missing"


class SourceChangedError(SourceError):
    """The archive or the manifest is another one than when its listing began."""

    code = "source_changed"


class SourceDeniedError(SourceError):
    """The bucket does not let us read the source."""

    code = "source_denied"


class SourceRefusedError(SourceError):
    """The bucket refuses the source for good, for a reason of the source's own."""

    code = "source_refused"


class SourceUnreadableError(SourceError):
    """The bucket answers, and yet does not give the source; it may do so later."""

    code = "source_unreadable"
    permanent = False


class SourceCrashedError(SourceError):
    """Listing the source failed in a way that nobody foresaw."""

    code = "internal_error"


class SourceLostError(SourceError):
    """The source took its worker down too often."""

    code = "source_lost"


class ExportLostError(FaceBatchError):
    """The export took its worker down too often."""

    code = "export_lost"


class QuotaExceededError(FaceBatchError):
    """The tenant would have more of something than it may."""

    code = "quota_exceeded"

    def __init__(
        self, detail: str, *, quota: QuotaKind | None = None, used: int = 0, allowed: int = 0
    ) -> None:
        super().__init__(detail)
        self.quota = quota
        self.used = used
        self.allowed = allowed
        # Photos and jobs end by themselves.
        self.permanent = quota is QuotaKind.BYTES


class UnavailableError(FaceBatchError):
    """A store does not answer; trying again later will help."""

    code = "unavailable"
    permanent = False


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL does not answer."""

    code = "database_unavailable"


class ConflictingChangesError(UnavailableError):
    """Somebody changed the same rows at the same moment; nothing of this change happened."""

    code = "conflicting_changes"


class StorageUnavailableError(UnavailableError):
    """The bucket does not answer."""

    code = "storage_unavailable"


class ObjectMissingError(FaceBatchError):
    """The photo's object is not in the bucket."""

    code = "object_missing"


class ObjectChangedError(FaceBatchError):
    """The object is another one than was listed."""

    code = "object_changed"


class ObjectDeniedError(FaceBatchError):
    """The bucket does not let us read the object."""

    code = "object_denied"


class ObjectRefusedError(FaceBatchError):
    """The bucket refuses the object for good, for a reason of the object's own."""

    code = "object_refused"


class ObjectUnreadableError(FaceBatchError):
    """The bucket answers, and yet does not give this object; it may do so later."""

    code = "object_unreadable"
    permanent = False


class KeyUnusableError(PhotoError):
    """The object's key gives no name that can be kept."""

    code = "key_unusable"


class ManifestLineError(PhotoError):
    """A line of a manifest names no object that can be read."""

    code = "manifest_line_invalid"
