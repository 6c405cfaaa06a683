"""The root of the tables, and how their columns come from Python's types."""

import datetime as dt
import uuid
from typing import ClassVar

from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase

from db.columns import NAMING, one_of
from db.states import (
    CropState,
    DeliveryState,
    DisabledReason,
    EventType,
    ExportFormat,
    ExportState,
    ItemState,
    JobKind,
    JobState,
    MultipleFaces,
    SourceKind,
    SourceState,
)


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {
        dt.datetime: DateTime(timezone=True),
        str: Text(),
        int: BigInteger(),
        uuid.UUID: Uuid(),
        JobKind: one_of(JobKind, "kind"),
        JobState: one_of(JobState, "state"),
        ItemState: one_of(ItemState, "state"),
        MultipleFaces: one_of(MultipleFaces, "multiple_faces"),
        SourceKind: one_of(SourceKind, "kind"),
        SourceState: one_of(SourceState, "state"),
        ExportFormat: one_of(ExportFormat, "format"),
        ExportState: one_of(ExportState, "state"),
        EventType: one_of(EventType, "type"),
        DisabledReason: one_of(DisabledReason, "disabled_reason"),
        DeliveryState: one_of(DeliveryState, "state"),
        CropState: one_of(CropState, "state"),
    }
