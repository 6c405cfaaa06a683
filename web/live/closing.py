"""How a live stream says what is wrong, and with which code of RFC 6455 it ends."""

from websockets.frames import CloseCode

from db.errors import UnavailableError
from pipeline.errors import FaceBatchError
from web.schemas.live import LiveErrorOut


class LiveIdleError(FaceBatchError):
    """No frame has come for too long."""

    code = "live_idle"


class LiveOverError(FaceBatchError):
    """The stream has lasted as long as one may; the client opens another."""

    code = "live_over"
    permanent = False


class ServerClosingError(FaceBatchError):
    """The server stops; the client opens another stream a little later."""

    code = "server_closing"
    permanent = False


class FrameTooLargeError(FaceBatchError):
    """A message has more bytes than one may."""

    code = "frame_too_large"


class MessageUnexpectedError(FaceBatchError):
    """A text came where frames are to come."""

    code = "message_unexpected"


class LiveBrokenError(FaceBatchError):
    """Something failed that nobody foresaw."""

    code = "internal_error"


# The first that fits is taken.
_CLOSE_CODES: tuple[tuple[type[FaceBatchError], CloseCode], ...] = (
    (LiveOverError, CloseCode.GOING_AWAY),
    (ServerClosingError, CloseCode.GOING_AWAY),
    (MessageUnexpectedError, CloseCode.UNSUPPORTED_DATA),
    (FrameTooLargeError, CloseCode.MESSAGE_TOO_BIG),
    (LiveBrokenError, CloseCode.INTERNAL_ERROR),
    (UnavailableError, CloseCode.TRY_AGAIN_LATER),
    (FaceBatchError, CloseCode.POLICY_VIOLATION),
)


def close_code(error: FaceBatchError) -> CloseCode:
    """The code with which a stream ends for this reason."""
    return next(code for kind, code in _CLOSE_CODES if isinstance(error, kind))


def words(error: FaceBatchError, *, dropped: int, frame: int | None = None) -> str:
    """The message that tells of an error, be it about one frame or the reason for the end."""
    told = LiveErrorOut(frame=frame, code=error.code, detail=str(error), dropped=dropped)
    return told.model_dump_json()
