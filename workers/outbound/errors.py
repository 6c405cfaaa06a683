"""Why an attempt to send an event failed, as its owner reads it."""

import enum


class Failure(enum.StrEnum):
    """What an attempt's error can be."""

    STATUS = "status"
    """The receiver answered with another status than 2xx; a redirection is not followed."""
    TIMED_OUT = "timed_out"
    """There was no whole head of an answer within 15 s."""
    NAME_UNKNOWN = "name_unknown"
    """The URL's host has no address, or the name servers did not say."""
    ADDRESS_REFUSED = "address_refused"
    """The URL's host has an address that is neither public nor allowed."""
    URL_REFUSED = "url_refused"
    """The URL is none that events are sent to (any more)."""
    CONNECT_FAILED = "connect_failed"
    """Nobody took the connection."""
    TLS_FAILED = "tls_failed"
    """The connection could not be encrypted, or the certificate is not the host's."""
    CONNECTION_BROKEN = "connection_broken"
    """The receiver closed the connection before the head of its answer was whole."""
    ANSWER_MALFORMED = "answer_malformed"
    """The answer is no HTTP."""
    ANSWER_TOO_LONG = "answer_too_long"
    """The head of the answer has more than 64 kB."""
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - no password.
    """The secret was encrypted with another FACEBATCH_SECRET_KEY; rotate it."""
    COURIER_LOST = "courier_lost"
    """The process that sent it died over it; whether the receiver got it nobody knows."""
    INTERNAL = "internal_error"
    """Something else, which was logged."""


class SendError(Exception):
    """An attempt failed before there was a status."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure
