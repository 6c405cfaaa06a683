"""Statements that a connection plans once, for what happens with every request.

PostgreSQL takes as long to plan a statement of many tables as to run it. A plan lives as long as
its connection.
"""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import CursorResult
from sqlalchemy.orm import Session


class Prepared:
    """A statement under a name of its own."""

    def __init__(self, name: str, sql: str, parameters: Mapping[str, str]) -> None:
        """`sql` has `:name` for a parameter and no `%`; `parameters` are their types."""
        numbers = {parameter: f"${n}" for n, parameter in enumerate(parameters, start=1)}
        numbered = re.sub(r"(?<!:):(\w+)", lambda found: numbers[found[1]], sql)
        self._name = name
        self._prepare = f"PREPARE {name} ({', '.join(parameters.values())}) AS {numbered}"
        values = ", ".join(f"%({parameter})s" for parameter in parameters)
        self._execute = f"EXECUTE {name} ({values})"

    def execute(self, session: Session, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Runs it in the session's transaction, with a value for each parameter."""
        connection = session.connection()
        if self._name not in connection.info:
            connection.exec_driver_sql(self._prepare)
            connection.info[self._name] = True
        return connection.exec_driver_sql(self._execute, dict(values))
