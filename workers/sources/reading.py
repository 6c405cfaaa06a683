"""A source and its bucket: faults that pass are waited for, those that stay are the source's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from db.allowed import Places
from db.errors import (
    ObjectChangedError,
    ObjectDeniedError,
    ObjectMissingError,
    ObjectRefusedError,
    ObjectUnreadableError,
    SourceChangedError,
    SourceDeniedError,
    SourceMissingError,
    SourceRefusedError,
    SourceUnreadableError,
)
from db.listing import SourceClaim
from db.storage import ListedObject
from workers.asking import asked
from workers.context import WorkerContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a lister may ask. All methods raise `SourceError`s and `UnavailableError`."""

    context: WorkerContext
    claim: SourceClaim
    places: Places
    keep: Callable[[], None]
    """Lengthens the lease where that is due; to be called now and then."""

    @property
    def key(self) -> str:
        """The key of the zip or the manifest, or the prefix."""
        return self.claim.archive_key or self.claim.object_key or ""

    @property
    def bucket(self) -> str | None:
        """None: our own, where we are denied nothing for long."""
        bucket = self.claim.bucket
        return None if bucket == self.places.own_bucket else bucket

    def objects(self, *, after: str) -> list[ListedObject]:
        """The next objects below the prefix, none at the end."""
        store, bucket = self.context.store, self.bucket
        return self.asked(lambda: store.page(self.key, bucket=bucket, after=after))

    def head(self) -> ListedObject:
        """Size and version of the zip or the manifest."""
        store, bucket = self.context.store, self.bucket
        found = self.asked(lambda: store.head(self.key, bucket=bucket))
        if self.claim.etag not in {None, found.etag}:
            raise _changed()
        return found

    def get(self, offset: int, length: int, *, etag: str) -> bytes:
        """A part of the zip or the manifest, in the version `etag`; `length` is above 0."""
        store, bucket, span = self.context.store, self.bucket, (offset, length)
        self.keep()
        return self.asked(lambda: store.get(self.key, bucket=bucket, etag=etag, span=span))

    def asked(self, ask: Callable[[], T]) -> T:
        """What `ask` returns, once the store answers."""
        try:
            return asked(self.context, self.bucket, ask)
        except ObjectMissingError as exc:
            raise SourceMissingError("there is no such bucket, or nothing under this key") from exc
        except ObjectDeniedError as exc:
            raise SourceDeniedError("the bucket does not let us read the source") from exc
        except ObjectUnreadableError as exc:
            raise SourceUnreadableError(str(exc)) from exc
        except ObjectRefusedError as exc:
            raise SourceRefusedError(str(exc)) from exc
        except ObjectChangedError as exc:
            raise _changed() from exc


def _changed() -> SourceChangedError:
    return SourceChangedError(
        "the archive or the manifest has changed while it was listed; submit it again"
    )
