"""The tables. What belongs to someone carries `tenant_id`, and its foreign keys carry it too."""

from db.models.access import ApiKey
from db.models.answers import KeptAnswer
from db.models.base import Base
from db.models.crops import Crop
from db.models.exports import Export
from db.models.jobs import Candidate, Item, Job, JobGallery, Source
from db.models.limits import Quota, StorageTally
from db.models.people import Gallery, Model, Subject, SubjectTally, Template, Tenant
from db.models.photos import (
    Archive,
    ArchiveCopy,
    DoomedObject,
    Embedding,
    Extracting,
    Extraction,
    Face,
    Photo,
    Upload,
)
from db.models.webhooks import (
    CallbackSecret,
    Event,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookWatch,
)

__all__ = [
    "ApiKey",
    "Archive",
    "ArchiveCopy",
    "Base",
    "CallbackSecret",
    "Candidate",
    "Crop",
    "DoomedObject",
    "Embedding",
    "Event",
    "Export",
    "Extracting",
    "Extraction",
    "Face",
    "Gallery",
    "Item",
    "Job",
    "JobGallery",
    "KeptAnswer",
    "Model",
    "Photo",
    "Quota",
    "Source",
    "StorageTally",
    "Subject",
    "SubjectTally",
    "Template",
    "Tenant",
    "Upload",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookWatch",
]
