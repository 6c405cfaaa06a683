"""The tables. What belongs to someone carries `tenant_id`, and its foreign keys carry it too."""

from db.models.answers import KeptAnswer
from db.models.base import Base
from db.models.exports import Export
from db.models.jobs import Candidate, Event, Item, Job, JobGallery, Source
from db.models.people import Gallery, Model, Subject, Template, Tenant
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

__all__ = [
    "Archive",
    "ArchiveCopy",
    "Base",
    "Candidate",
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
    "Source",
    "Subject",
    "Template",
    "Tenant",
    "Upload",
]
