"""What tests of webhooks share: a tenant with endpoints, and a courier whose steps they take."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger_kit import Kit
from receiver_kit import PATIENCE_S
from sqlalchemy import text

from db.session import Role, make_database, transaction
from db.settings import Settings
from db.states import EventType
from db.webhooks import endpoints
from db.webhooks.endpoints import EndpointView, NewEndpoint
from db.webhooks.secrets import Safe, shown
from db.webhooks.targets import Allowed
from workers.courier import Courier
from workers.outbound.names import NameServers
from workers.outbound.posting import Poster


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """A tenant with webhooks, and a courier that may send to loopback."""

    kit: Kit
    settings: Settings

    @property
    def safe(self) -> Safe:
        return Safe.from_settings(self.settings)

    def endpoint(
        self,
        url: str,
        *types: EventType,
        subjects: Sequence[uuid.UUID] = (),
    ) -> tuple[EndpointView, str]:
        """An endpoint for these types (a job's end, where none is named), and its secret."""
        new = NewEndpoint(
            url=url,
            event_types=types or (EventType.JOB_COMPLETED,),
            subject_ids=frozenset(subjects),
        )
        with transaction(self.kit.database) as session:
            made, secret = endpoints.create_endpoint(session, self.kit.tenant_id, new, self.safe)
        return made, shown(secret)

    def view(self, endpoint_id: uuid.UUID) -> EndpointView:
        with transaction(self.kit.database) as session:
            return endpoints.get_endpoint(session, self.kit.tenant_id, endpoint_id)

    def courier(self) -> "Couriers":
        return Couriers(self.settings)

    def send(self) -> None:
        """What a courier does with all that is due now."""
        with self.courier() as courier:
            courier.send_all()

    def execute(self, statement: str, **values: Any) -> list[Any]:
        with self.kit.database.begin() as connection:
            done = connection.execute(text(statement), values)
            return list(done) if done.returns_rows else []

    def due_now(self) -> None:
        """As if the pauses before all further attempts were over."""
        self.execute("UPDATE webhook_delivery SET due_at = now() WHERE state = 'waiting'")

    def deliveries(self) -> list[Any]:
        return self.execute("SELECT * FROM webhook_delivery ORDER BY id")

    def attempts(self) -> list[Any]:
        return self.execute("SELECT * FROM webhook_attempt ORDER BY id")

    def events(self, *types: str) -> list[Any]:
        return self.execute(
            "SELECT * FROM event WHERE type = ANY(:types) ORDER BY number", types=list(types)
        )


class Couriers:
    """A courier whose steps a test takes."""

    def __init__(self, settings: Settings) -> None:
        self._database = make_database(settings.database or "", role=Role.SYSTEM, pool_size=4)
        poster = Poster(NameServers.from_settings(settings), Allowed.of(settings.webhook_networks))
        self._runner = asyncio.Runner()
        self._courier = Courier(settings, self._database, poster)

    def __enter__(self) -> "Couriers":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._courier.stop())
        self._runner.close()
        self._database.dispose()

    def send_all(self) -> None:
        """Looks once, and waits until all that it found has been sent."""
        self._runner.run(self._sent())

    def send_until(self, condition: Callable[[], object]) -> None:
        """Looks again and again, and waits for nothing that is being sent."""
        self._runner.run(self._looking(condition))

    async def _sent(self) -> None:
        await self._courier.send_due()
        await self._courier.all_done()

    async def _looking(self, condition: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up_at, "never came true"
            await self._courier.send_due()
            await asyncio.sleep(0.02)


def wait_for(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "never came true"
        time.sleep(0.02)
