"""Where sources may lie: each tenant's own folder, and what an operator allows it beside that."""

import re
import uuid
from dataclasses import dataclass
from typing import Self

from db.errors import SourceNotAllowedError
from db.settings import Settings
from db.tenants import LOCAL_TENANT

SOURCES_FOLDER = "sources"
"""In the photos' bucket; below it each tenant has a folder of its own, by its name."""
ANYBODY = "*"
_RELATIVE = re.compile(r"(?:^|/)\.\.?(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bucket, or a folder of it."""

    bucket: str
    prefix: str
    """Empty, or it ends with a slash."""

    @classmethod
    def of_url(cls, url: str) -> Self:
        """From `s3://bucket/folder/`."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return cls(
            bucket=bucket, prefix=prefix if not prefix or prefix[-1] == "/" else f"{prefix}/"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What one tenant's sources may name, in our bucket and in others."""

    own_bucket: str
    allowed: tuple[Place, ...]

    @classmethod
    def of(cls, settings: Settings, tenant_name: str) -> Self:
        """The tenant's own folder, and those of the settings' places that are for it.

        What names nobody is for the tenant `local`: on its own machine all of it is one person's.
        """
        own = Place(bucket=settings.s3_bucket, prefix=f"{SOURCES_FOLDER}/{tenant_name}/")
        urls = [
            url
            for who, url in map(_whose, (settings.sources or "").split())
            if who in {ANYBODY, tenant_name}
        ]
        return cls(own_bucket=settings.s3_bucket, allowed=(own, *map(Place.of_url, urls)))

    def hold(self, bucket: str, key: str) -> bool:
        """Whether a source may name this object, or all whose keys begin so.

        Never one of ours: those lie in folders that are called by the id of their upload.
        """
        if _RELATIVE.search(key) or (bucket == self.own_bucket and _is_ours(key)):
            return False
        return any(bucket == one.bucket and key.startswith(one.prefix) for one in self.allowed)

    def require(self, bucket: str, key: str) -> None:
        """Raises `SourceNotAllowedError` unless a source may name it."""
        if not self.hold(bucket, key):
            mine = self.allowed[0]
            raise SourceNotAllowedError(
                f"sources may lie in s3://{mine.bucket}/{mine.prefix}, and where the setting "
                "FACEBATCH_SOURCES allows it to you"
            )


def _whose(place: str) -> tuple[str, str]:
    """Whom a place of the settings is for, and its URL."""
    who, is_named, url = place.partition("=s3://")
    return (who, f"s3://{url}") if is_named and "/" not in who else (LOCAL_TENANT, place)


def _is_ours(key: str) -> bool:
    try:
        uuid.UUID(key.partition("/")[0])
    except ValueError:
        return False
    return True
