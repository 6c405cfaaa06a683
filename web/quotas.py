"""How much a tenant may have, kept to by each request that adds something for it."""

import contextlib
from collections.abc import Iterator

from db.quotas import Allowed, Usage, require_room, usage_of, within_quotas
from db.session import Database, Session, transaction
from db.states import QuotaKind


class Quotas:
    """The quotas of all tenants, and of which of them it is known that they have some.

    That spares the others a question. Whoever goes wrong by it asks once more than needed.
    """

    def __init__(self, defaults: Allowed) -> None:
        self._defaults = defaults
        self._limited: set[int] = set()

    def are_known(self, tenant_id: int) -> bool:
        """Whether the tenant has quotas, as far as that is known without asking."""
        return bool(self._defaults) or tenant_id in self._limited

    @contextlib.contextmanager
    def kept(self, session: Session, tenant_id: int) -> Iterator[None]:
        """What is added inside the context is within the tenant's quotas.

        To be entered before anything is locked. Raises `QuotaExceededError`, with which the
        transaction is to be rolled back.
        """
        with within_quotas(session, tenant_id, self._defaults) as limited:
            (self._limited.add if limited else self._limited.discard)(tenant_id)
            yield

    def require_room(self, database: Database, tenant_id: int, *kinds: QuotaKind) -> None:
        """Raises `QuotaExceededError` where nothing more of one of the kinds would be taken.

        For a look before something large is read; what has room then may have none later.
        """
        if self.are_known(tenant_id):
            with transaction(database) as session:
                require_room(session, tenant_id, self._defaults, *kinds)

    def usage(self, session: Session, tenant_id: int) -> list[Usage]:
        """How much of each kind the tenant has, and may have."""
        return usage_of(session, tenant_id, self._defaults)
