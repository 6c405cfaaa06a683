"""Under which id a photo of a folder goes into a job."""

import hashlib

from pipeline.names import MAX_FILE_NAME_CHARS, storable


def client_id_of(relative: str) -> str:
    """The path itself where it arrives unchanged as the name of a form's file, else a hash of it.

    "%22" does not: in a form it stands for a quote.
    """
    if 0 < len(relative) <= MAX_FILE_NAME_CHARS and storable(relative) and "%22" not in relative:
        return relative
    return "#" + hashlib.sha256(relative.encode("utf-8", "surrogateescape")).hexdigest()
