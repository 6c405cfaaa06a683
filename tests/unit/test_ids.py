"""Ids that clients see: UUIDs of version 7, which grow with time."""

import time
import uuid

from db.ids import new_id


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(100):
        one = new_id()
        assert (one.version, one.variant) == (7, uuid.RFC_4122)


def test_an_id_begins_with_the_milliseconds_of_its_making() -> None:
    before = time.time_ns() // 1_000_000
    one = new_id()
    after = time.time_ns() // 1_000_000
    assert before <= one.int >> 80 <= after


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_every_bit_that_is_no_version_and_no_time_is_random() -> None:
    ones = zeros = 0
    for _ in range(200):
        value = new_id().int & (1 << 80) - 1
        ones |= value
        zeros |= ~value & (1 << 80) - 1
    fixed = 0xF << 76 | 0x3 << 62
    assert ones & zeros == (1 << 80) - 1 & ~fixed
