"""API keys."""

from collections.abc import Iterator, Sequence

from facebatch.client.connection import Connection
from facebatch.client.fields import Id, as_json
from facebatch.client.models.keys import Key, Keys, NewKey, Scope

PATH = "/v1/keys"


class KeyCalls:
    """`client.keys`, for a key with the scope `admin`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, name: str, scopes: Sequence[Scope], *, expires_in_days: int | None = None
    ) -> NewKey:
        """A new key. Keep `key`: it is shown this once."""
        body = as_json({"name": name, "scopes": scopes, "expires_in_days": expires_in_days})
        return self._connection.post(NewKey, PATH, json=body, once=True)

    def list(self) -> Iterator[Key]:
        """All keys, the oldest first, those that have ended included."""
        return self._connection.pages(Keys, PATH)

    def get(self, key: Id) -> Key:
        """The key, without what makes it one."""
        return self._connection.read(Key, f"{PATH}/{key}")

    def rotate(self, key: Id, *, overlap_s: int | None = None) -> NewKey:
        """A key in place of another, which is good for `overlap_s` yet."""
        body = as_json({"overlap_s": overlap_s})
        return self._connection.post(NewKey, f"{PATH}/{key}/rotate", json=body, once=True)

    def revoke(self, key: Id) -> None:
        """Ends a key, for good and at once."""
        self._connection.delete(f"{PATH}/{key}")
