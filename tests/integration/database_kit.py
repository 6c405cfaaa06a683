"""Databases of tests' own on the run's PostgreSQL."""

import contextlib
import uuid
from collections.abc import Iterator

import psycopg2

from db.settings import Settings


def execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def sibling(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + "/" + name


@contextlib.contextmanager
def own_database(stores: Settings, template_url: str) -> Iterator[str]:
    """The address of a copy of the database at `template_url`, which is dropped at the end."""
    url, name = stores.database or "", f"t{uuid.uuid4().hex}"
    template = template_url.rsplit("/", 1)[1]
    execute(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield sibling(url, name)
    execute(url, f"DROP DATABASE {name} WITH (FORCE)")
