"""How many messages a worker takes: one for each process that is ready and has nothing to do."""

from typing import Any

from celery.bootsteps import StartStopStep
from celery.worker import state
from celery.worker.consumer.tasks import Tasks


class Appetite(StartStopStep):  # type: ignore[misc]
    """Keeps what nobody here could begin at once in the queue, for others.

    Celery would take a message for each busy process as well, and hold it until that one is free;
    and one for each process that is still loading its models.
    """

    requires = (Tasks,)

    def start(self, consumer: Any) -> None:
        """Called anew for each connection to Redis."""
        wants = _Wants(consumer)
        consumer.task_consumer.channel.qos.can_consume = wants


class _Wants:
    def __init__(self, consumer: Any) -> None:
        # A process is written to from the moment it reports itself alive, its models loaded.
        self._ready = consumer.pool._pool._fileno_to_inq  # noqa: SLF001
        self._taken = state.reserved_requests

    def __call__(self) -> bool:
        return len(self._taken) < len(self._ready)
