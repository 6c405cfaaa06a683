"""What the client raises: one tree, by who is to blame.

    ClientError
    ├── ServerAwayError            nobody has answered
    ├── ApiError                   an answer that is no success
    │   ├── InvalidRequestError    400, 413, 414, 415, 422 and the like: the request is wrong
    │   ├── UnauthorizedError      401: no key, or none that is good
    │   ├── ForbiddenError         403: the key may not do this
    │   ├── NotFoundError          404
    │   ├── ConflictError          409: not as things stand
    │   ├── PreconditionFailedError  412: it is not as `if_match` says
    │   ├── TooManyRequestsError   429
    │   ├── ServerError            5xx
    │   └── UnexpectedAnswerError  somebody else than facebatch has answered
    ├── JobUnfinishedError         the deadline has passed before the job has ended
    └── WebhookError               an event that facebatch has not sent

Nothing of this has a key, a secret or a photo in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ClientError(Exception):
    """The root of all that the client raises by itself."""

    code: str = "client_error"
    """Stable, for programs."""
    permanent: ClassVar[bool] = True
    """Whether the same would come of trying again."""


class ServerAwayError(ClientError):
    """The server did not answer for longer than the client waits; whether it has acted is open."""

    code = "server_away"
    permanent = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """A field that was refused."""

    field: str
    message: str


class ApiError(ClientError):
    """An answer that is no success: its problem (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        request_id: str | None = None,
        fields: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        """By which the request is found in the server's log."""
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s
        """After how many seconds to ask again, where the server says so."""
        self.add_note(f"{status} {code}" + (f", request {request_id}" if request_id else ""))


class InvalidRequestError(ApiError):
    """The request is wrong, and would be tomorrow."""


class UnauthorizedError(ApiError):
    """No key, or none that is good."""


class ForbiddenError(ApiError):
    """The key may not do this."""


class NotFoundError(ApiError):
    """It is not there, or not yours."""


class ConflictError(ApiError):
    """It cannot be done as things stand."""


class PreconditionFailedError(ApiError):
    """It is not, or not any more, as `if_match` says."""


class TooManyRequestsError(ApiError):
    """More than you may ask for."""

    permanent = False


class ServerError(ApiError):
    """Something went wrong over there, and went on to for as long as the client tries."""

    permanent = False


class UnexpectedAnswerError(ApiError):
    """Somebody else than facebatch has answered, or another version than this client knows."""


class JobUnfinishedError(ClientError, TimeoutError):
    """The job had not ended at the deadline. It goes on."""

    code = "job_unfinished"
    permanent = False


class WebhookError(ClientError):
    """The request is no event of facebatch's, or one from another time: answer it with 401."""

    code = "webhook_unverified"


_BY_STATUS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: PreconditionFailedError,
    429: TooManyRequestsError,
}


def kind_of(status: int) -> type[ApiError]:
    """The class of a problem of this status."""
    default = ServerError if status >= 500 else InvalidRequestError
    return _BY_STATUS.get(status, default)
