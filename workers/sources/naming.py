"""Which objects are photos by their names, and why one of them is not taken."""

from db.errors import KeyUnusableError
from db.page import ListedEntry
from db.places import PhotoPlace
from pipeline.errors import EmptyFileError, FileTooLargeError, PhotoError
from pipeline.names import MAX_FILE_NAME_CHARS, calls_itself_photo, is_hidden, spelt, storable


def is_photo(path: str) -> bool:
    """Whether a file of a folder would be taken for a photo: by its suffix, and not hidden."""
    *folders, file = path.split("/")
    return calls_itself_photo(file) and not any(map(is_hidden, (*folders, file)))


def entry_of(path: str, photo: PhotoPlace, *, max_bytes: int) -> ListedEntry:
    """An object as an item called `path`, or as a failed one where it cannot be taken."""
    name = path if storable(path) else spelt(path)
    entry = ListedEntry(
        name=name[:MAX_FILE_NAME_CHARS],
        client_id=path,
        source_key=photo.object_key,
        source_bucket=photo.bucket,
        photo=photo,
    )
    if (flaw := name_flaw(path)) is not None:
        return entry.failed(flaw.code, str(flaw), client_id=None)
    if (flaw := _size_flaw(photo.size_bytes, max_bytes)) is not None:
        return entry.failed(flaw.code, str(flaw), client_id=path)
    return entry


def name_flaw(path: str) -> PhotoError | None:
    """Why a photo cannot be called so."""
    if len(path) > MAX_FILE_NAME_CHARS:
        return KeyUnusableError(
            f"the photo's name has more than {MAX_FILE_NAME_CHARS} characters; rename it"
        )
    if not storable(path):
        return KeyUnusableError("the photo's name has control characters in it; rename it")
    return None


def _size_flaw(size_bytes: int, max_bytes: int) -> PhotoError | None:
    if size_bytes == 0:
        return EmptyFileError("the file is empty; send the photo's bytes")
    if size_bytes > max_bytes:
        return FileTooLargeError(
            f"the file has more than the {max_bytes} bytes allowed; send a smaller one"
        )
    return None
