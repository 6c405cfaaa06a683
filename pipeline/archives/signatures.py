"""Archives and packed files, told by their names or by their first bytes."""

from pipeline.names import suffix_of

ARCHIVE_SUFFIXES = frozenset(
    {"zip", "zipx", "7z", "rar", "tar", "tgz", "tbz", "tbz2", "txz", "tzst"}
    | {"gz", "bz2", "xz", "lzma", "zst", "cbz", "cbr", "cab", "iso", "dmg"}
)
_STARTS = (
    ("zip", b"PK\3\4"),
    ("zip", b"PK\5\6"),
    ("zip", b"PK\7\x08"),
    ("rar", b"Rar!\x1a\7"),
    ("7z", b"7z\xbc\xaf\x27\x1c"),
    ("gzip", b"\x1f\x8b\x08"),
    ("xz", b"\xfd7zXZ\0"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("cab", b"MSCF\0\0\0\0"),
)
_TAR_MAGIC = slice(257, 262)


def calls_itself_archive(name: str) -> bool:
    """Whether a file of this name, without folders, is taken for an archive or a packed file."""
    return suffix_of(name) in ARCHIVE_SUFFIXES


def archive_format(data: bytes) -> str | None:
    """What to call the archive format that `data` starts as, or None. 512 bytes are enough."""
    for name, start in _STARTS:
        if data.startswith(start):
            return name
    if data.startswith(b"BZh") and data[4:10] == b"1AY&SY":
        return "bzip2"
    return "tar" if data[_TAR_MAGIC] == b"ustar" else None
