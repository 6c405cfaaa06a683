"""Why an archive is refused as a whole, and why one of its entries is not taken."""

from pipeline.errors import FaceBatchError, PhotoError


class ArchiveError(FaceBatchError):
    """An archive of which nothing is taken, whoever tries and however often."""

    code = "archive_unusable"


class ArchiveNotZipError(ArchiveError):
    """The bytes are no zip archive."""

    code = "archive_not_zip"


class ArchiveTruncatedError(ArchiveError):
    """Bytes are missing at the archive's end, or before it."""

    code = "archive_truncated"


class ArchiveAmbiguousError(ArchiveError):
    """The archive can be read in more ways than one."""

    code = "archive_ambiguous"


class ArchivePrefixedError(ArchiveError):
    """Bytes stand before the archive that it does not know of."""

    code = "archive_prefixed"


class ArchiveInconsistentError(ArchiveError):
    """The archive's end says things that contradict each other, or what stands elsewhere."""

    code = "archive_inconsistent"


class ArchiveRecordError(ArchiveError):
    """A record of the directory is broken."""

    code = "archive_record_broken"


class ArchiveCountError(ArchiveError):
    """The directory has more entries than the archive's end says, or fewer."""

    code = "archive_count_mismatch"


class ArchiveMultiDiskError(ArchiveError):
    """The archive is a part of one that was split."""

    code = "archive_multi_disk"


class ArchiveDirectoryEncryptedError(ArchiveError):
    """The directory itself is encrypted."""

    code = "archive_directory_encrypted"


class ArchiveDirectoryTooLargeError(ArchiveError):
    """The directory is far larger than its entries need."""

    code = "archive_directory_too_large"


class ArchiveTooManyEntriesError(ArchiveError):
    """The archive has more entries than one may."""

    code = "archive_too_many_entries"


class ArchiveTooLargeError(ArchiveError):
    """The archive's photos have more bytes, unpacked, than one archive's may."""

    code = "archive_too_large"


class ArchiveOverlapError(ArchiveError):
    """Entries share bytes, so that the archive unpacks to far more than is in it."""

    code = "archive_overlap"


class ArchiveEntryOutsideError(ArchiveError):
    """An entry lies outside of the part of the archive that entries lie in."""

    code = "archive_entry_outside"


class ArchiveWithoutPhotosError(ArchiveError):
    """Nothing in the archive calls itself a photo."""

    code = "archive_without_photos"


class ArchiveEntryError(PhotoError):
    """An entry that is not taken, while its neighbours are."""

    code = "archive_entry_unusable"


class PathOutsideError(ArchiveEntryError):
    """The entry's name leads out of the archive."""

    code = "archive_path_outside"


class EntryNameError(ArchiveEntryError):
    """The entry's name cannot be kept as it is."""

    code = "archive_name_invalid"


class DuplicateNameError(ArchiveEntryError):
    """An earlier entry has this name."""

    code = "archive_duplicate_name"


class EntryEncryptedError(ArchiveEntryError):
    """The entry is encrypted."""

    code = "archive_entry_encrypted"


class MethodUnsupportedError(ArchiveEntryError):
    """The entry is packed in a way that is not read."""

    code = "archive_method_unsupported"


class EntrySpecialError(ArchiveEntryError):
    """The entry is a link, a device or the like."""

    code = "archive_entry_special"


class NestedArchiveError(ArchiveEntryError):
    """The entry is an archive itself."""

    code = "archive_nested"


class RatioTooHighError(ArchiveEntryError):
    """The entry is packed far tighter than any photo can be."""

    code = "archive_ratio_too_high"


class HeaderMismatchError(ArchiveEntryError):
    """What stands before the entry's bytes is not what the directory says."""

    code = "archive_header_mismatch"


class CrcMismatchError(ArchiveEntryError):
    """The entry's bytes are not those that were packed."""

    code = "archive_crc_mismatch"


class SizeMismatchError(ArchiveEntryError):
    """The entry has more bytes than the directory says, or fewer."""

    code = "archive_size_mismatch"


class EntryDamagedError(ArchiveEntryError):
    """The entry's packed bytes are none, or break off."""

    code = "archive_entry_damaged"
