"""The lines of a manifest are read by ranges, and go on where they stood."""

from hypothesis import given
from hypothesis import strategies as st

from workers.sources.lines import MAX_LINE_BYTES, Line, lines

TEXT = st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")), max_size=8).map(
    b"\n".join
)


class Object:
    """An object that is read by ranges, and how large they were."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.longest = 0

    def __call__(self, offset: int, length: int) -> bytes:
        assert 0 < length <= len(self.data) - offset
        self.longest = max(self.longest, length)
        return self.data[offset : offset + length]


def read(data: bytes, range_bytes: int = 7, **start: int) -> list[Line]:
    return list(lines(Object(data), len(data), range_bytes=range_bytes, **start))


def bare(data: bytes) -> list[bytes]:
    """The lines as Python sees them."""
    parts = data.split(b"\n")
    whole = parts if parts[-1] else parts[:-1]
    cut = [one.removesuffix(b"\r") for one in whole]
    return [cut[0].removeprefix(b"\xef\xbb\xbf"), *cut[1:]] if cut else []


@given(data=TEXT, range_bytes=st.integers(1, 40))
def test_ranges_of_any_size_give_the_same_lines(data: bytes, range_bytes: int) -> None:
    found = read(data, range_bytes)
    assert [one.data for one in found] == bare(data)
    assert [one.number for one in found] == list(range(1, len(found) + 1))


@given(data=TEXT, range_bytes=st.integers(1, 40), stop=st.integers(0, 7))
def test_they_go_on_behind_any_line(data: bytes, range_bytes: int, stop: int) -> None:
    whole = read(data, range_bytes)
    before = whole[:stop]
    at = {"offset": before[-1].next_offset, "number": before[-1].number} if before else {}
    assert before + read(data, range_bytes, **at) == whole


def test_a_line_that_is_too_long_is_told_and_never_held() -> None:
    long = b"x" * (10 * MAX_LINE_BYTES)
    for data in (b"a\n" + long + b"\nb", b"a\n" + long, b"a\n" + long + b"\n"):
        found = read(data, 1000)
        assert [one.data for one in found[:2]] == [b"a", None]
        assert found[-1].next_offset == len(data)
        rest = [b"b"] if data.endswith(b"b") else []
        assert [one.data for one in found[2:]] == rest


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    found = read(b"\xef\xbb\xbfa\r\n\xef\xbb\xbfb\r\n")
    assert [one.data for one in found] == [b"a", b"\xef\xbb\xbfb"]


def test_no_more_is_asked_for_than_a_range() -> None:
    source = Object(b"a line\n" * 1000)
    assert len(list(lines(source, len(source.data), range_bytes=100))) == 1000
    assert source.longest == 100
