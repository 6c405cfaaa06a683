"""The one root of all errors, and the errors that a photo itself can cause."""


class FaceBatchError(Exception):
    """Root of every error that facebatch raises on purpose.

    `code` is stable and documented (docs/reference/errors.md). `permanent` says whether trying the
    same thing again can help: a permanent error ends its item, any other is tried again.
    """

    code = "internal_error"
    permanent = True


class PhotoError(FaceBatchError):
    """A photo that cannot become faces, whoever tries and however often."""

    code = "photo_unusable"


class EmptyFileError(PhotoError):
    """The file has no bytes."""

    code = "empty_file"


class NotAnImageError(PhotoError):
    """The bytes are no image in any format that we know."""

    code = "not_an_image"


class UnsupportedFormatError(PhotoError):
    """The bytes are an image, in a format that we do not take."""

    code = "unsupported_format"


class TruncatedImageError(PhotoError):
    """The image begins well and then breaks off or turns to nonsense."""

    code = "image_truncated"


class ImageTooLargeError(PhotoError):
    """The image has more pixels than the settings allow."""

    code = "image_too_large"


class FileTooLargeError(PhotoError):
    """The file has more bytes than the settings allow."""

    code = "file_too_large"


class PhotoCrashedError(PhotoError):
    """Computing this photo failed in a way that nobody foresaw."""

    code = "internal_error"


class EngineUnknownError(FaceBatchError):
    """No engine has this name and version."""

    code = "engine_unknown"


class ModelFileError(FaceBatchError):
    """A model file is missing or is not the one its engine was built for."""

    code = "model_file_invalid"


class ModelFormatError(ModelFileError):
    """A model file holds something that its reader does not know."""

    code = "model_format_unknown"


class ModelCacheError(FaceBatchError):
    """The folder of converted models cannot be read or written."""

    code = "model_cache_unusable"
    permanent = False


class CurveError(FaceBatchError):
    """Points that are no curve of error rates, or a file of them that cannot be read."""

    code = "error_curve_invalid"


class ThresholdRangeError(FaceBatchError):
    """The threshold is no distance that two embeddings of the engine can have."""

    code = "threshold_out_of_range"


class TargetUnknownError(FaceBatchError):
    """A target error rate for an engine whose error rates were never measured."""

    code = "target_unsupported"
