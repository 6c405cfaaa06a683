"""What jobs do, and where they and their photos stand."""

import enum


class JobKind(enum.StrEnum):
    """What a job does with each photo."""

    ENROL = "enrol"
    """Make a template of its face for a subject."""
    IDENTIFY = "identify"
    """Search each of its faces in a gallery (1:N)."""
    VERIFY = "verify"
    """Compare each of its faces with one subject (1:1)."""
    DETECT = "detect"
    """Find its faces, compare them with nobody."""


class JobState(enum.StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """No photo has been claimed yet."""
    RUNNING = "running"
    """Some photos have been claimed, some have not ended."""
    SUCCEEDED = "succeeded"
    """All photos ended in `done` or `no_face`."""
    PARTIALLY_FAILED = "partially_failed"
    """All photos ended, some in `failed`."""
    FAILED = "failed"
    """All photos ended in `failed`."""
    CANCELLED = "cancelled"
    """Cancelled; photos that had ended keep their results."""


class ItemState(enum.StrEnum):
    """Where one photo of a job stands."""

    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    """A worker holds its lease."""
    DONE = "done"
    """Has its result."""
    NO_FACE = "no_face"
    """Was read, and shows no face."""
    FAILED = "failed"
    """Cannot be done; `error_code` says why."""
    CANCELLED = "cancelled"
    """Its job was cancelled before it ended."""


class MultipleFaces(enum.StrEnum):
    """What enrolment does with a photo of several faces."""

    REFUSE = "refuse"
    """The photo fails with `several_faces`."""
    LARGEST = "largest"
    """The face with the largest box is enrolled."""


class JobPriority(enum.IntEnum):
    """Whose photos go first. Within one priority, tenants take turns."""

    INTERACTIVE = 0
    """Somebody is waiting for the answer."""
    NORMAL = 1
    """What a job has that says nothing."""
    LOW = 2
    """Whenever nothing else waits."""


class SourceKind(enum.StrEnum):
    """Where a job's photos come from, when they do not come one by one."""

    ARCHIVE = "archive"
    """The entries of a zip."""
    PREFIX = "prefix"
    """The objects of a bucket below a prefix."""
    MANIFEST = "manifest"
    """The objects that an NDJSON file names, a line each."""
    JOB = "job"
    """The photos of another job."""


class SourceState(enum.StrEnum):
    """Where the listing of a source stands."""

    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    """A worker lists it, and holds its lease."""
    DONE = "done"
    """Each of its photos is an item."""
    FAILED = "failed"
    """Cannot be listed, or no further; `error_code` says why."""
    CANCELLED = "cancelled"
    """Its job was cancelled before it was listed to its end."""


class Decision(enum.StrEnum):
    """Why a face is taken for somebody or for nobody."""

    MATCH = "match"
    """Its nearest candidate is within the threshold: that is who it is."""
    ABOVE_THRESHOLD = "above_threshold"
    """Its nearest candidate is too far away."""
    NO_CANDIDATE = "no_candidate"
    """There was nobody to compare it with."""
    NOT_SEARCHED = "not_searched"
    """Its job compares faces with nobody."""


class ExportFormat(enum.StrEnum):
    """What the results of a job are written as; the value is the file's extension too."""

    JSONL = "jsonl"
    """A JSON object a photo, a line each."""
    CSV = "csv"
    """A line a face."""
    PARQUET = "parquet"
    """A row a face."""
    XMP = "xmp"
    """A sidecar file a photo, with its faces as regions; all of them in a zip."""
    SUBJECTS_JSONL = "subjects.jsonl"
    """A JSON object a subject, a line each."""
    SUBJECTS_CSV = "subjects.csv"
    """A line a subject."""


class ExportState(enum.StrEnum):
    """Where an export that a worker writes into the bucket stands."""

    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    """A worker writes it, and holds its lease."""
    DONE = "done"
    """Lies in the bucket."""
    FAILED = "failed"
    """Cannot be written; `error_code` says why."""


class EventType(enum.StrEnum):
    """What webhooks tell of."""

    JOB_COMPLETED = "job.completed"
    """A job has ended, in whichever way; once in each of its rounds."""
    JOB_FAILED = "job.failed"
    """Beside that, where it ended as `failed`: nothing of it could be done."""
    JOB_PROGRESS = "job.progress"
    """Photos of a job have ended and others have not; twice a minute at the most."""
    MATCH_FOUND = "match.found"
    """A photo shows a subject that an endpoint watches."""
    ENDPOINT_DISABLED = "endpoint.disabled"
    """Another endpoint gets no events any more, because it failed for too long or is gone."""
    ENDPOINT_TEST = "endpoint.test"
    """Somebody wanted to see whether events arrive. Every endpoint gets its own."""


class DisabledReason(enum.StrEnum):
    """Why an endpoint gets no events."""

    OWNER = "owner"
    """Its owner has switched it off."""
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Nothing could be delivered to it for five days."""


class DeliveryState(enum.StrEnum):
    """Where one event on its way to one endpoint stands."""

    WAITING = "waiting"
    """For its time to be sent, for the first time or again."""
    SENDING = "sending"
    """A courier sends it, and holds its lease."""
    DELIVERED = "delivered"
    """The endpoint has answered with 2xx."""
    FAILED = "failed"
    """Given up; it can be replayed."""


SUBSCRIBABLE = tuple(one for one in EventType if one is not EventType.ENDPOINT_TEST)


class CropState(enum.StrEnum):
    """Where a face stands that somebody wants cut out."""

    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    """A worker cuts it out, and holds its lease."""
    DONE = "done"
    """Is cut out."""
    FAILED = "failed"
    """Cannot be cut out; `error_code` says why."""


OPEN_JOB_STATES = (JobState.QUEUED, JobState.RUNNING)
OPEN_ITEM_STATES = (ItemState.QUEUED, ItemState.RUNNING)
OPEN_EXPORT_STATES = (ExportState.QUEUED, ExportState.RUNNING)
OPEN_CROP_STATES = (CropState.QUEUED, CropState.RUNNING)
OPEN_SOURCE_STATES = (SourceState.QUEUED, SourceState.RUNNING)


class QuotaKind(enum.StrEnum):
    """Of what a tenant may have so much."""

    BYTES = "bytes"
    """In objects of ours: photos, zips, and files that may be sent past us."""
    OPEN_PHOTOS = "open_photos"
    """Items that have not ended."""
    OPEN_JOBS = "open_jobs"
    """Jobs that have not ended."""
