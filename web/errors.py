"""What is wrong with a request itself, before anything is looked up."""

from http import HTTPStatus

from pipeline.errors import FaceBatchError


class RequestError(FaceBatchError):
    """A request that cannot be understood; `status` is its answer's."""

    code = "invalid_request"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class InvalidRequestError(RequestError):
    """A field is missing, unknown or has a value that it cannot have; the answer names it."""


class MalformedJsonError(RequestError):
    """The body should be JSON and is not."""

    code = "malformed_json"
    status = HTTPStatus.BAD_REQUEST


class MalformedMultipartError(RequestError):
    """The multipart body breaks off or is no multipart body."""

    code = "malformed_multipart"
    status = HTTPStatus.BAD_REQUEST


class TooSlowError(RequestError):
    """The body comes too slowly, or nothing more of it comes."""

    code = "request_too_slow"
    status = HTTPStatus.REQUEST_TIMEOUT


class MediaTypeError(RequestError):
    """The body has another content type than the route takes."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class HostUntrustedError(RequestError):
    """The request is for a host name that this server does not answer to."""

    code = "host_untrusted"
    status = HTTPStatus.MISDIRECTED_REQUEST


class OriginUntrustedError(RequestError):
    """A web page of another origin asks for a change."""

    code = "origin_untrusted"
    status = HTTPStatus.FORBIDDEN


class UpgradeRequiredError(RequestError):
    """The route is a WebSocket, and the request opens none."""

    code = "upgrade_required"
    status = HTTPStatus.UPGRADE_REQUIRED


class NoPhotoError(RequestError):
    """The request brings no photo."""

    code = "no_photo"
    status = HTTPStatus.BAD_REQUEST


class RequestTooLargeError(RequestError):
    """The request is too large as a whole."""

    code = "request_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class TooManyPhotosError(RequestError):
    """The request brings more photos than one may."""

    code = "too_many_photos"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class FileNameError(RequestError):
    """A photo's file name is too long, has characters that it cannot have, or is missing."""

    code = "file_name_invalid"


class InvalidNameError(RequestError):
    """A name is empty, too long, or has characters that it cannot have."""

    code = "name_invalid"


class CursorError(RequestError):
    """The cursor is none that this list has handed out."""

    code = "cursor_invalid"
    status = HTTPStatus.BAD_REQUEST


class TooBusyError(RequestError):
    """So many requests are on their way that this one was not read."""

    code = "too_busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    permanent = False


class StillWorkingError(RequestError):
    """A synchronous answer was not ready in time; nothing of the request remains."""

    code = "still_working"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    permanent = False
