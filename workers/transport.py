"""kombu's Redis transport, for messages that are no loss."""

from kombu.message import Message
from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.scheduling import priority_cycle

from db.failpoints import Failpoint, reached

URGENT_FIRST = f"{__name__}:UrgentFirst"


class UrgentFirst(priority_cycle):
    """The order in which a worker asks its queues: by their names, the longest first.

    So `facebatch.urgent` comes before `facebatch`. kombu has it by a set's order, which is none.
    """

    def consume(self, n: int) -> list[str]:
        """At most `n` queues, in the order in which they are to be asked."""
        return sorted(self.items, key=len, reverse=True)[:n]


class _Channel(redis.Channel):
    """A channel that gives back what was taken and not begun, or lets it be."""

    _refused = False

    def message_to_python(self, raw_message: object) -> Message:
        """As kombu does it; here a test can kill a worker that has just taken a message."""
        reached(Failpoint.MESSAGE_TAKEN)
        return super().message_to_python(raw_message)  # type: ignore[no-any-return, no-untyped-call]

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:  # noqa: FBT001, FBT002
        """Likewise, and here one that is about to acknowledge it."""
        reached(Failpoint.MESSAGE_DONE)
        super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]

    def _restore(self, message: Message, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002
        """Where Redis is not there to take the first of them, nor are the others tried.

        kombu would wait for each, and then write them to a file in the folder of temporary ones.
        """
        if self._refused:
            return
        try:
            super()._restore(message, leftmost)  # type: ignore[no-untyped-call]
        except (*self.connection_errors, self.ResponseError):
            self._refused = True


class Transport(redis.Transport):
    """The transport of these channels."""

    Channel = _Channel


def use_transport() -> None:
    """Makes kombu take it for Redis, with TLS or without.

    By its aliases and not by Celery's `broker_transport`, which would lose the TLS of `rediss`.
    """
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
