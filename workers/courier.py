"""The courier: sends events to those who want them. Run as `python -m workers.courier`.

Several may run at once; each delivery is sent by one of them. What a courier was sending when it
was killed is sent again, under the same id.
"""

import asyncio
import contextlib
import datetime as dt
import functools
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TypeVar

import structlog

from db import nudge
from db.errors import UnavailableError
from db.failpoints import Failpoint, reached
from db.nudge import Listener
from db.retry import retrying
from db.session import Database, Role, Session, make_database, retried
from db.settings import Settings
from db.webhooks.deliveries import (
    Attempted,
    Room,
    Sending,
    claim_deliveries,
    hand_back,
    record_attempt,
    requeue_lost,
)
from db.webhooks.events import BATCH_EVENTS, give_out
from db.webhooks.payload import body_of
from db.webhooks.secrets import Safe, signatures
from db.webhooks.targets import Allowed
from workers.loop import StopSignal, run_with_settings
from workers.outbound.errors import Failure, SendError
from workers.outbound.names import NameServers
from workers.outbound.posting import TOTAL_S, Poster

T = TypeVar("T")
log = structlog.get_logger()
AT_A_TIME = 256
PER_LANE, PER_TENANT = 8, 96
"""At a time, over all couriers: no receiver that is slow, and no tenant, has all of the room."""
LEASE_S = TOTAL_S + 30
RECORD_FOR_S = 20.0
"""For so long the database may be away before an answer is forgotten, and the event sent again."""
IDLE_S = 1.0
"""What becomes due without a nudge waits this long at the most."""
GATHER_S = 0.05
"""Others are let come, or get done, before all that is due is looked at."""
TROUBLE_S = 0.5
STOP_S = 5.0
"""For what is being sent when the courier is told to stop."""
THREADS = 4
"""That talk to the database."""


class Courier:
    """Gives events out, and sends what is due, many at a time."""

    def __init__(self, settings: Settings, database: Database, poster: Poster) -> None:
        self._database = database
        self._poster = poster
        self._safe = Safe.from_settings(settings)
        self._agent = f"facebatch/{version('facebatch')} (webhooks)"
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._under_way: dict[asyncio.Task[None], Sending] = {}

    async def send_due(self) -> bool:
        """Begins to send what is due and fits; whether there may be more at once.

        Raises `UnavailableError`.
        """
        given_out = await self._in_database(give_out)
        await self._in_database(requeue_lost)
        free = AT_A_TIME - len(self._under_way)
        if free <= 0:
            return False
        room = Room(free=free, lane=PER_LANE, tenant=PER_TENANT)
        claim = functools.partial(claim_deliveries, room=room, lease_s=LEASE_S)
        for sending in await self._in_database(claim):
            task = asyncio.create_task(self._send(sending))
            self._under_way[task] = sending
            task.add_done_callback(self._under_way.pop)
        return given_out == BATCH_EVENTS

    async def one_done(self) -> None:
        """Returns when something that was being sent has been recorded; never, where nothing is."""
        if self._under_way:
            await asyncio.wait(list(self._under_way), return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.Event().wait()

    async def all_done(self) -> None:
        """Returns when nothing is being sent."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    async def stop(self) -> None:
        """Waits a little for what is being sent, and hands back the rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self.all_done()
        left = dict(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        with contextlib.suppress(UnavailableError):
            await self._in_database(functools.partial(hand_back, sendings=list(left.values())))
        self._threads.shutdown()

    async def _send(self, sending: Sending) -> None:
        try:
            await self._sent(sending)
        except Exception:
            # Its lease runs out, and it is sent again.
            log.exception("delivery_crashed", delivery_id=str(sending.id))

    async def _sent(self, sending: Sending) -> None:
        began_at, began = dt.datetime.now(dt.UTC), time.monotonic()
        status, body, wish_s, failure = await self._posted(sending)
        attempted = Attempted(
            began_at=began_at,
            latency_ms=round(1000 * (time.monotonic() - began)),
            status=status,
            error_code=failure,
            answer=body.decode(errors="replace").replace("\0", "\ufffd"),
            retry_after_s=wish_s,
        )
        reached(Failpoint.EVENT_SENT)
        try:
            await self._in_database(
                lambda session: record_attempt(session, sending, attempted), for_s=RECORD_FOR_S
            )
        except UnavailableError as exc:
            log.warning("delivery_not_recorded", delivery_id=str(sending.id), code=exc.code)
            return
        log.info(
            "event_sent",
            delivery_id=str(sending.id),
            event_id=str(sending.event.id),
            attempt=sending.attempt,
            status=status,
            error=failure,
            ms=attempted.latency_ms,
        )

    async def _posted(
        self, sending: Sending
    ) -> tuple[int | None, bytes, float | None, Failure | None]:
        """Status, body and `Retry-After` of the answer, and what was wrong."""
        opened = [self._safe.opened(one, sending.owner) for one in sending.secrets]
        secrets = [one for one in opened if one is not None]
        if not secrets:
            return None, b"", None, Failure.SECRET_UNREADABLE
        body, at_s = body_of(sending.event), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            "webhook-id": str(sending.event.id),
            "webhook-timestamp": str(at_s),
            "webhook-signature": signatures(secrets, sending.event.id, at_s, body),
        }
        try:
            answer = await self._poster.post(sending.url, headers, body)
        except SendError as exc:
            return None, b"", None, exc.failure
        except Exception:
            log.exception("event_not_sent", delivery_id=str(sending.id))
            return None, b"", None, Failure.INTERNAL
        failure = None if 200 <= answer.status < 300 else Failure.STATUS
        return answer.status, answer.body, answer.retry_after_s, failure

    async def _in_database(self, work: Callable[[Session], T], *, for_s: float = 0.0) -> T:
        """What `work` returns, in a thread; tried for so long while the database is away."""
        call = functools.partial(
            retrying, functools.partial(retried, self._database, work), for_s=for_s
        )
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


async def deliver(settings: Settings, stop: StopSignal) -> None:
    """Sends events until it is told to stop."""
    database = make_database(
        settings.database or "", role=Role.SYSTEM, pool_size=THREADS, max_overflow=0
    )
    poster = Poster(NameServers.from_settings(settings), Allowed.of(settings.webhook_networks))
    courier = Courier(settings, database, poster)
    nudged = asyncio.Event()
    listening = asyncio.create_task(_listen(settings, nudged, stop))
    while not stop:
        try:
            if not await courier.send_due():
                await _woken(courier, nudged)
        except UnavailableError as exc:
            log.warning("courier_failed", code=exc.code)
            await asyncio.sleep(TROUBLE_S)
    await courier.stop()
    await listening
    database.dispose()


async def _listen(settings: Settings, nudged: asyncio.Event, stop: StopSignal) -> None:
    """Sets `nudged` whenever somebody nudges, until the courier is told to stop."""
    listener = Listener(settings.database or "", nudge.EVENTS)
    while not stop:
        try:
            if await asyncio.to_thread(listener.wait, IDLE_S):
                nudged.set()
        except UnavailableError:
            await asyncio.sleep(IDLE_S)
    listener.close()


async def _woken(courier: Courier, nudged: asyncio.Event) -> None:
    """Returns a moment after a nudge or after something is done, or after a second."""
    waiting = [asyncio.create_task(nudged.wait()), asyncio.create_task(courier.one_done())]
    await asyncio.wait(waiting, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()
    await asyncio.sleep(GATHER_S)
    nudged.clear()


def run(settings: Settings) -> None:
    """Sends events until SIGINT or SIGTERM. Raises `SettingsError` where it cannot sign any."""
    settings.require_secret_key()
    asyncio.run(deliver(settings, StopSignal()))


if __name__ == "__main__":
    sys.exit(run_with_settings(run))
