"""What can be submitted: a folder, a zip, a manifest, or what lies in a bucket."""

from dataclasses import dataclass
from pathlib import Path

import click

from facebatch.client.fields import SourceFields
from facebatch.client.models.files import FileKind

BUCKET = "s3://"
ARCHIVE: FileKind = "archive"
MANIFEST: FileKind = "manifest"
ARCHIVE_SUFFIXES = (".zip",)
MANIFEST_SUFFIXES = (".ndjson", ".jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of this machine, whose photos are sent."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A zip or a manifest of this machine, which is sent as it is."""

    kind: FileKind
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InBucket:
    """Objects that the server reads where they are."""

    url: str
    source: SourceFields
    """As the API takes it."""


Target = Folder | File | InBucket


def target_of(given: str) -> Target:
    """What the argument names; raises `click.BadParameter`."""
    if given.startswith(BUCKET):
        return _in_bucket(given)
    path = Path(given)
    if not path.exists():
        raise click.BadParameter(f"{given} does not exist", param_hint="TARGET")
    path = path.resolve()
    if path.is_dir():
        return Folder(path=path)
    if path.is_file() and (kind := _kind(path.name)) is not None:
        return File(kind=kind, path=path)
    raise click.BadParameter(
        f"{given} is neither a folder nor a file ending in .zip, .ndjson or .jsonl",
        param_hint="TARGET",
    )


def _kind(name: str) -> FileKind | None:
    if name.lower().endswith(ARCHIVE_SUFFIXES):
        return ARCHIVE
    return MANIFEST if name.lower().endswith(MANIFEST_SUFFIXES) else None


def _in_bucket(url: str) -> InBucket:
    bucket, _, key = url.removeprefix(BUCKET).partition("/")
    if not bucket or not key:
        raise click.BadParameter(
            f"{url} names no photos; give s3://BUCKET/PREFIX", param_hint="TARGET"
        )
    kind = _kind(key)
    source: SourceFields = (
        {"kind": "prefix", "prefix": key, "bucket": bucket}
        if kind is None
        else {"kind": kind, "key": key, "bucket": bucket}
    )
    return InBucket(url=url, source=source)
