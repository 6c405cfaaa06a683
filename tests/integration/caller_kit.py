"""What tests of callers share: requests with a key, and keys that are not good."""

import contextlib
from collections.abc import Iterator
from typing import Any

from api_kit import refused
from sqlalchemy import event, text
from werkzeug.test import TestResponse

from db import key_text
from db.api_keys import MadeKey
from db.key_text import ALPHABET, MARK, new_key_text
from db.session import Database, transaction
from web.services import EXTENSION


def call(app: Any, key: str | None, path: str = "/v1/galleries", **more: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return app.test_client().get(path, headers=headers, **more)


def unauthorized(answer: TestResponse, code: str) -> str:
    """Checks the challenge of RFC 6750, too."""
    detail = refused(answer, 401, code)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="facebatch"')
    assert ('error="invalid_token"' in challenge) == (code != "key_missing")
    return detail


def execute(database: Database, statement: str, **values: object) -> Any:
    with transaction(database) as session:
        return session.execute(text(statement), values)


def one_value(database: Database, query: str) -> Any:
    with transaction(database) as session:
        return session.execute(text(query)).scalar_one()


@contextlib.contextmanager
def statements(app: Any) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    seen: list[str] = []

    def note(_c: object, _cu: object, statement: str, *_: object) -> None:
        seen.append(statement)

    directory = app.extensions[EXTENSION].directory
    event.listen(directory, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(directory, "before_cursor_execute", note)


def cut(key: str) -> str:
    return key[:-3]


def mistyped(key: str) -> str:
    at = len(MARK) + 20
    return key[:at] + ALPHABET[(ALPHABET.find(key[at]) + 1) % 62] + key[at + 1 :]


def forged(made_key: MadeKey) -> str:
    """A whole key with the handle of another, and a secret of its own."""
    other = new_key_text().text
    handle = made_key.text[len(MARK) : len(MARK) + 12]
    body = MARK + handle + other[len(MARK) + 12 : -6]
    return body + key_text._checksum(body)
