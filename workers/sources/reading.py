"""A source and its bucket: faults that pass are waited for, those that stay are the source's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from db.errors import (
    BucketNotFoundError,
    ObjectChangedError,
    ObjectMissingError,
    SourceChangedError,
    SourceMissingError,
    SourceUnreachableError,
    StorageForbiddenError,
)
from db.listing import SourceClaim
from db.places import Places
from db.retry import retrying
from db.storage import ListedObject
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
        """None: the zip or the manifest is ours."""
        return self.claim.bucket

    def objects(self, *, after: str) -> list[ListedObject]:
        """The next objects below the prefix, none at the end."""
        store = self.context.store.bucket(self.bucket)
        return self._asked(lambda: store.page(self.key, after=after))

    def head(self) -> ListedObject:
        """Size and version of the zip or the manifest."""
        store = self.context.store.bucket(self.bucket)
        found = self._asked(lambda: store.head(self.key))
        if self.claim.etag not in {None, found.etag}:
            raise _changed()
        return found

    def get_range(self, offset: int, length: int, *, etag: str) -> bytes:
        """A part of the zip or the manifest, in the version `etag`."""
        store = self.context.store.bucket(self.bucket)
        self.keep()
        return self._asked(lambda: store.get_range(self.key, offset, length, etag=etag))

    def _asked(self, ask: Callable[[], T]) -> T:
        return retrying(lambda: self._once(ask), for_s=self.context.settings.lease_s / 4)

    def _once(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except ObjectMissingError as exc:
            raise SourceMissingError("the archive or the manifest is not in the bucket") from exc
        except ObjectChangedError as exc:
            raise _changed() from exc
        except (BucketNotFoundError, StorageForbiddenError) as exc:
            # Our own bucket has to come back, whoever asks for it.
            if self.bucket in {None, self.places.own_bucket}:
                raise
            raise SourceUnreachableError(f"{exc}; see to its name, and to what we may do") from exc


def _changed() -> SourceChangedError:
    return SourceChangedError(
        "the archive or the manifest has changed while it was listed; submit it again"
    )
