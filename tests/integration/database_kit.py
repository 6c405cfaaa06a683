"""Databases that are copies of another: what takes long to make is made once."""

import contextlib
import uuid
from collections.abc import Iterator

import psycopg2
from pydantic import SecretStr

from db.settings import Settings


def execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def sibling(url: str, name: str) -> str:
    """The address of another database of the same server."""
    return url.rsplit("/", 1)[0] + "/" + name


@contextlib.contextmanager
def copied(stores: Settings, template: str) -> Iterator[Settings]:
    """Settings that lead to a copy of the database `template`, to which nobody is connected."""
    url, name = stores.database or "", f"t{uuid.uuid4().hex}"
    execute(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield stores.model_copy(update={"database_url": SecretStr(sibling(url, name))})
    execute(url, f"DROP DATABASE {name} WITH (FORCE)")
