"""Asking for an object, and whose fault it is where that fails: its own, or the whole store's."""

from collections.abc import Callable
from typing import TypeVar

from db.errors import ObjectUnreadableError, StorageUnavailableError
from db.retry import retrying
from workers.context import WorkerContext

Answer = TypeVar("Answer")


def asked(context: WorkerContext, bucket: str | None, ask: Callable[[], Answer]) -> Answer:
    """What `ask` gets from the bucket; None is ours. Raises what `ask` raises.

    And `ObjectUnreadableError` where it alone fails: the store did its work for others before it
    was asked again and again, and does it afterwards. Else the store is away: that is a
    `StorageUnavailableError`, and no fault of the object's.
    """
    try:
        return ask()
    except StorageUnavailableError:
        _patiently(context, lambda: context.store.prove(bucket))
    try:
        return _patiently(context, ask)
    except StorageUnavailableError as exc:
        _patiently(context, lambda: context.store.prove(bucket))
        raise ObjectUnreadableError(
            "the bucket answers, and yet fails to give this object; try again when it can be read"
        ) from exc


def _patiently(context: WorkerContext, ask: Callable[[], Answer]) -> Answer:
    # A bucket that hangs fails at its own pace: with one more try the lease would be gone.
    return retrying(ask, for_s=context.settings.lease_s / 4)
