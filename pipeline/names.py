"""What the names of files say: which files are taken for photos, and which names can be kept."""

from unicodedata import category

MAX_FILE_NAME_CHARS = 500
"""Longest name of a photo in a job, with the folders that stand before it."""
# What calls itself a photo is taken for one, in formats that we can't read too: those fail by
# name instead of going missing. Everything else that lies about in an archive is left out.
PHOTO_SUFFIXES = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "bmp"}
    | {"heic", "heif", "hif", "avif"}
    | {"gif", "jp2", "jxl"}
)
_UNSTORABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's control characters, surrogates, and separators of lines and paragraphs."""
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Embeddings, overrides and isolates of the direction of writing, and what ends them."""


def suffix_of(name: str) -> str:
    """What stands behind the last dot of a file's name, in lower case; "" where that is no suffix.

    `name` is without folders. Of ".jpg" the suffix is "", for that file is hidden, not a JPEG.
    """
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem else ""


def calls_itself_photo(name: str) -> bool:
    """Whether a file of this name, without folders, is taken for a photo."""
    return suffix_of(name) in PHOTO_SUFFIXES


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name, without those above it, is passed over unseen."""
    return name.startswith(".")


def storable(text: str) -> bool:
    """Whether `text` is a name that reads as it is written, in a list and in a line of a terminal.

    Without control characters, ends of lines and halves of characters (JSON has those), and
    without what turns the direction of writing, which would make one name look like another.
    """
    return text.isprintable() or not any(
        category(char) in _UNSTORABLE or char in _TURNING for char in text
    )


def spelt(name: str) -> str:
    """A file name as a person's name, or for a terminal: all that cannot be shown is written out.

    As it is, a control character could forge a line, or move what was written before.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )
