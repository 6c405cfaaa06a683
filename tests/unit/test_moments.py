"""A moment that a client names is in UTC for us, whatever its zone and year."""

import datetime as dt

import pytest
from pydantic import TypeAdapter

from web.schemas.base import Moment

UTC = dt.UTC


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-06T22:18:56+02:00", dt.datetime(2026, 6, 6, 20, 18, 56, tzinfo=UTC)),
        ("0026-06-06T22:18:56+22:55", dt.datetime(26, 6, 5, 23, 23, 56, tzinfo=UTC)),
        ("0001-01-01T00:00:00+10:00", dt.datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-10:00", dt.datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_is_turned_into_utc(text: str, moment: dt.datetime) -> None:
    found = TypeAdapter(Moment).validate_python(text)
    assert found == moment
    assert found.tzinfo is UTC
