"""The description of an object's key says what the check asks of one."""

import re

import pytest
from pydantic import TypeAdapter, ValidationError

from db.setting_kinds import ObjectKey

KEY = TypeAdapter(ObjectKey)


def _is_as_described(key: str) -> bool:
    said = KEY.json_schema()
    fits = said["minLength"] <= len(key) <= said["maxLength"]
    return fits and re.search(said["pattern"], key) is not None


@pytest.mark.parametrize("key", ["a", "a\nb", "é" * 512], ids=["short", "lines", "long"])
def test_a_key_is_taken_as_described(key: str) -> None:
    assert _is_as_described(key)
    assert KEY.validate_python(key) == key


@pytest.mark.parametrize("key", ["", "a\0b", "a" * 1025], ids=["empty", "zero", "longer"])
def test_a_key_that_is_refused_is_not_as_described(key: str) -> None:
    assert not _is_as_described(key)
    with pytest.raises(ValidationError):
        KEY.validate_python(key)
