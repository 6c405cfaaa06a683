"""The Celery app, each setting with its reason. Its messages are hints; the rows are the truth."""

from celery import Celery
from kombu.entity import Exchange, Queue

from db.dispatch import Chunk, Lane
from db.settings import Settings
from workers.appetite import Appetite
from workers.transport import URGENT_FIRST, use_transport

QUEUE = "facebatch"
URGENT_QUEUE = "facebatch.urgent"
"""Read before the other by workers that read both."""
QUEUES = {Lane.BULK: QUEUE, Lane.URGENT: URGENT_QUEUE}
PROCESS_CHUNK = "facebatch.process_chunk"
LIST_SOURCE = "facebatch.list_source"
WRITE_EXPORT = "facebatch.write_export"
MAKE_CROP = "facebatch.make_crop"
EXPORT_LIMIT_S = 24 * 3600
"""A million photos take minutes; each page of them keeps the lease, so nobody waits for this."""
TRANSPORT_OPTIONS = {
    # Nothing unacknowledged is of worth to us, so Redis does not note it down. If it did,
    # an acknowledgement that Redis is not there to take would hold its place for good: a
    # worker with as many of them as it may have messages would never ask for another.
    "ack_emulation": False,
    "socket_keepalive": True,
    "socket_connect_timeout": 5,
    # Longer than any answer takes, the one second for which a worker waits for a message
    # included. Without it, a Redis that hangs takes dispatcher and workers with it.
    "socket_timeout": 5,
    # A Redis that was replaced is noticed at the next check, not at the next message.
    "health_check_interval": 5,
    "queue_order_strategy": URGENT_FIRST,
}
"""What kombu is told of Redis."""


def make_celery(settings: Settings) -> Celery:
    """An app that sends and takes chunks over the Redis of `settings`."""
    use_transport()
    redis_url = settings.require_stores().redis_url
    app = Celery("facebatch", broker=redis_url.get_secret_value() if redis_url else None)
    app.conf.update(
        # Arguments are ids; no message can make a worker run code.
        accept_content=["json"],
        task_serializer="json",
        # Results are rows.
        result_backend=None,
        task_ignore_result=True,
        # The anonymous exchange needs no binding in Redis, so sending works after a FLUSHALL.
        task_queues=[
            Queue(name, Exchange(""), routing_key=name)  # type: ignore[no-untyped-call]
            for name in QUEUES.values()
        ],
        task_default_queue=QUEUE,
        task_default_exchange="",
        task_default_routing_key=QUEUE,
        # A message says no more than "look at these rows". It is done with when it is read: a
        # worker that dies leaves rows whose lease runs out, and late acknowledgement would only
        # let Redis repeat itself (a photo that kills its worker would run for ever).
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        # Redis may come and go for as long as it likes.
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
        broker_transport_options=TRANSPORT_OPTIONS,
        # Nobody asks our workers anything over Redis, and its channels are one thing less to break.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        # Where the command line says nothing; Celery would take all cores of the machine.
        worker_concurrency=settings.worker_processes,
        # Models are loaded before a process reports itself alive.
        worker_proc_alive_timeout=120,
        worker_hijack_root_logger=False,
        # Celery's lines would show arguments; ours say what there is to say.
        worker_redirect_stdouts=False,
    )
    # No message waits behind a chunk that runs, or for a process that is not ready.
    app.steps["consumer"].add(Appetite)
    return app


def send_chunk(app: Celery, chunk: Chunk) -> None:
    """Tells the workers of a chunk; raises kombu's OperationalError where Redis is away."""
    app.send_task(PROCESS_CHUNK, args=[list(chunk.item_ids)], queue=QUEUES[chunk.lane], retry=False)


def send_source(app: Celery, source_id: str) -> None:
    """Tells the workers of a source to be listed; raises what `send_chunk` raises."""
    app.send_task(LIST_SOURCE, args=[source_id], queue=QUEUE, retry=False)


def send_export(app: Celery, export_id: str) -> None:
    """Tells the workers of an export to be written; raises what `send_chunk` raises."""
    app.send_task(WRITE_EXPORT, args=[export_id], queue=QUEUE, retry=False)


def send_crop(app: Celery, crop_id: str) -> None:
    """Tells the workers of a face to be cut out; raises what `send_chunk` raises."""
    # Somebody waits for it.
    app.send_task(MAKE_CROP, args=[crop_id], queue=URGENT_QUEUE, retry=False)
