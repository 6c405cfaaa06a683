"""Statements that a connection plans once, for what happens with every request.

PostgreSQL takes as long to plan a statement of many tables as to run it.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Result, Select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

PLAN_AGE_S = 60.0
"""So long a plan is used: it may be of a time when the tables were all but empty."""


class Prepared:
    """A statement under a name of its own."""

    def __init__(
        self,
        name: str,
        sql: str,
        parameters: Mapping[str, str],
        *,
        columns: Sequence[ColumnElement[Any]] = (),
    ) -> None:
        """`sql` has `:name` for a parameter and no `%`; `parameters` are their types.

        Values of its rows are as the driver has them, but for those of `columns`.
        """
        numbers = {parameter: f"${n}" for n, parameter in enumerate(parameters, start=1)}
        numbered = re.sub(r"(?<!:):(\w+)", lambda found: numbers[found[1]], sql)
        self.sql = sql
        self._name = name
        self._prepare = f"PREPARE {name} ({', '.join(parameters.values())}) AS {numbered}"
        values = ", ".join(f"%({parameter})s" for parameter in parameters)
        self._execute = f"EXECUTE {name} ({values})"
        self._typed = (
            text(f"EXECUTE {name} ({', '.join(f':{one}' for one in parameters)})").columns(*columns)
            if columns
            else None
        )

    @classmethod
    def of(cls, name: str, query: Select[Any], parameters: Mapping[str, str]) -> "Prepared":
        """A query whose bound parameters are those; what else it has are literals."""
        dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
        sql = str(query.compile(dialect=dialect))
        return cls(name, sql, parameters, columns=query.selected_columns.values())

    def execute(self, session: Session, values: Mapping[str, Any]) -> Result[Any]:
        """Runs it in the session's transaction, with a value for each parameter."""
        connection = session.connection()
        prepared_at = connection.info.get(self._name)
        if prepared_at is None or time.monotonic() - prepared_at > PLAN_AGE_S:
            if prepared_at is not None:
                connection.exec_driver_sql(f"DEALLOCATE {self._name}")
                del connection.info[self._name]
            connection.exec_driver_sql(self._prepare)
            connection.info[self._name] = time.monotonic()
        if self._typed is not None:
            return connection.execute(self._typed, dict(values))
        return connection.exec_driver_sql(self._execute, dict(values))
