"""Which answers of a bucket are its last word about an object."""

import re

from db.errors import ObjectRefusedError

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{1,63}")
_PASSING_STATUSES = {408, 425, 429}
_STATUSES_WITH_A_MEANING = {401, 403, 404, 412, 416}
"""Denied, missing, changed, at an end: who asks knows each of them."""
_NOT_OF_THE_OBJECT = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeout",
    "TokenRefreshRequired",
}
"""Codes that S3 sends with 400: our keys, our region or the connection are at fault."""
_OF_THE_OBJECT = {"InvalidObjectState"}
"""Codes that come with 403, though nobody is denied anything: the object is in cold storage."""


def refusal(status: int, code: str | None) -> ObjectRefusedError | None:
    """The error of an object that its bucket refuses for good; None where another try may help.

    `code` is S3's own, where the answer has one. None too for a status that has its own error.
    """
    if not 400 <= status < 500 or status in _PASSING_STATUSES or code in _NOT_OF_THE_OBJECT:
        return None
    if status in _STATUSES_WITH_A_MEANING and code not in _OF_THE_OBJECT:
        return None
    told = code if code and _CODE.fullmatch(code) else f"status {status}"
    return ObjectRefusedError(f"the bucket refuses to give the object: {told}")
