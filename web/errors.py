"""What is wrong with a request itself, before anything is looked up."""

from http import HTTPStatus

from db.scopes import Scope
from pipeline.errors import FaceBatchError


class RequestError(FaceBatchError):
    """A request that cannot be understood; `status` is its answer's."""

    code = "invalid_request"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    @property
    def headers(self) -> dict[str, str]:
        """What the answer has in its headers besides."""
        return {}


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


class MalformedRequestError(RequestError):
    """What came is no HTTP request, or could be read as two."""

    code = "malformed_request"
    status = HTTPStatus.BAD_REQUEST


class LineTooLongError(RequestError):
    """The first line of the request is too long."""

    code = "uri_too_long"
    status = HTTPStatus.REQUEST_URI_TOO_LONG


class HeadersTooLargeError(RequestError):
    """The headers of the request are too long, or too many."""

    code = "headers_too_large"
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class TransferEncodingError(RequestError):
    """The body comes in a coding that we do not know."""

    code = "transfer_encoding_unknown"
    status = HTTPStatus.NOT_IMPLEMENTED


class ExpectationError(RequestError):
    """The client expects what we do not do."""

    code = "expectation_failed"
    status = HTTPStatus.EXPECTATION_FAILED


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


class IdempotencyKeyError(RequestError):
    """The idempotency key is none: too long, or with characters that it cannot have."""

    code = "idempotency_key_invalid"
    status = HTTPStatus.BAD_REQUEST


class IdempotencyKeyReusedError(RequestError):
    """The idempotency key came with another request before."""

    code = "idempotency_key_reused"


class IdempotencyKeyInFlightError(RequestError):
    """The request with this idempotency key is under way."""

    code = "idempotency_key_in_flight"
    status = HTTPStatus.CONFLICT
    permanent = False


class PreconditionFailedError(RequestError):
    """What would be changed is not, or not any more, as the client says that it knows it."""

    code = "precondition_failed"
    status = HTTPStatus.PRECONDITION_FAILED


class TooBusyError(RequestError):
    """So many requests are on their way that this one was not read."""

    code = "too_busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    permanent = False


class TooManyRequestsError(RequestError):
    """Whoever calls has sent more requests than one may, or more keys that are not good."""

    code = "too_many_requests"
    status = HTTPStatus.TOO_MANY_REQUESTS
    permanent = False

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """When it makes sense to ask again."""
        return {"Retry-After": str(self.retry_after_s)}


class StillWorkingError(RequestError):
    """A synchronous answer was not ready in time; nothing of the request remains."""

    code = "still_working"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    permanent = False


class UnauthenticatedError(RequestError):
    """Nobody knows who calls: what stands in `Authorization`, or should, is not good."""

    code = "unauthenticated"
    status = HTTPStatus.UNAUTHORIZED

    @property
    def headers(self) -> dict[str, str]:
        """The challenge of RFC 6750, which has no error for a request that tells nothing."""
        return {"WWW-Authenticate": 'Bearer realm="facebatch", error="invalid_token"'}


class KeyMissingError(UnauthenticatedError):
    """The request comes without an API key."""

    code = "key_missing"

    @property
    def headers(self) -> dict[str, str]:
        """Likewise."""
        return {"WWW-Authenticate": 'Bearer realm="facebatch"'}


class KeyMalformedError(UnauthenticatedError):
    """What was sent is no whole API key."""

    code = "key_malformed"


class KeyInvalidError(UnauthenticatedError):
    """There is no such API key."""

    code = "key_invalid"


class KeyExpiredError(UnauthenticatedError):
    """The API key's time is over."""

    code = "key_expired"


class KeyRevokedError(UnauthenticatedError):
    """The API key was revoked."""

    code = "key_revoked"


class TokenInvalidError(UnauthenticatedError):
    """The token is not one of the issuer's for us, or not good at this time."""

    code = "token_invalid"


class TokenExpiredError(UnauthenticatedError):
    """The token's time is over."""

    code = "token_expired"


class TenantUnknownError(RequestError):
    """The token is good, and names no tenant that there is."""

    code = "tenant_unknown"
    status = HTTPStatus.FORBIDDEN


class ScopeMissingError(RequestError):
    """The key or token is good, and does not have the scope that the route asks for."""

    code = "scope_missing"
    status = HTTPStatus.FORBIDDEN

    def __init__(self, scope: Scope) -> None:
        super().__init__(
            f"this needs the scope '{scope}', which the key does not have; use another key"
        )
        self.scope = scope

    @property
    def headers(self) -> dict[str, str]:
        """The challenge of RFC 6750, which names what is missing."""
        challenge = f'Bearer realm="facebatch", error="insufficient_scope", scope="{self.scope}"'
        return {"WWW-Authenticate": challenge}


class IssuerUnavailableError(RequestError):
    """The issuer's keys cannot be had, so no token of its can be checked."""

    code = "issuer_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    permanent = False
