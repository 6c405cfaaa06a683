"""A small part of `make fuzz-images`, and that it would notice."""

import os
import random
import signal
import sys
import time
from collections import Counter

import fuzzing
import pytest
from fuzzing import Ending, Plan, examine, mutant, run
from image_bombs import BOMBS
from image_corpus import good_images
from image_parts import parts_and_fields

from pipeline.errors import TruncatedImageError
from pipeline.photo import Photo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
IMAGES = tuple(good_images(None, 1))
COUNT = 156


def _plan(**changes: object) -> Plan:
    usual = {"images": IMAGES, "count": COUNT, "seed": 20, "max_pixels": 1_000_000}
    return Plan(**{**usual, "limit_s": 60.0, "processes": 1, **changes})


def _endings(plan: Plan) -> list[Ending]:
    endings: list[Ending] = []
    run(plan, range(plan.count), endings.append)
    return endings


def test_broken_images_end_in_pixels_or_in_a_code_and_take_no_process_down() -> None:
    endings = _endings(_plan())
    assert [one for one in endings if one.unexpected or one.crashed] == []
    assert sorted(one.index for one in endings) == list(range(COUNT))
    outcomes = Counter(one.outcome for one in endings)
    assert outcomes["pixels"] > 20
    assert outcomes["image_truncated"] > 20
    assert outcomes.keys() <= {
        "pixels",
        "empty_file",
        "not_an_image",
        "unsupported_format",
        "image_truncated",
        "image_too_large",
    }


def test_the_same_seed_makes_the_same_images_and_another_makes_others() -> None:
    plan, other = _plan(), _plan(seed=21)
    numbers = range(0, 60, 7)
    assert [mutant(plan, n) for n in numbers] == [mutant(_plan(), n) for n in numbers]
    assert [mutant(plan, n) for n in numbers] != [mutant(other, n) for n in numbers]


def test_every_good_image_is_one_and_its_parts_are_found() -> None:
    for data in IMAGES:
        ending = examine(data, _plan())
        assert (ending.outcome, ending.unexpected) == ("pixels", [])
        parts, fields = parts_and_fields(data)
        assert fields
        assert parts or data.startswith(b"BM")


def test_every_bomb_can_be_made() -> None:
    for number in range(3):
        for bomb in set(BOMBS):
            bomb(random.Random(number))


# ---------------------------------------------------------------- that it would notice


def test_an_error_of_another_kind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Photo) -> None:
        raise KeyError

    monkeypatch.setattr(Photo, "pixels", fail)
    assert any("KeyError came through" in one for one in examine(IMAGES[0], _plan()).unexpected)


def test_pixels_of_another_shape_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Photo, "width_px", 7)
    assert any("pixels of shape" in one for one in examine(IMAGES[0], _plan()).unexpected)


def test_memory_beyond_the_cap_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(_: Photo) -> None:
        bytearray(os.urandom(1) * 200_000_000)
        raise TruncatedImageError

    monkeypatch.setattr(Photo, "pixels", greedy)
    assert any("MB where" in one for one in examine(IMAGES[0], _plan()).unexpected)


def _dies(data: bytes, plan: Plan) -> Ending:
    if data == mutant(plan, 1)[1]:
        os.kill(os.getpid(), signal.SIGSEGV)
    return Ending(index=-1)


def _hangs(data: bytes, plan: Plan) -> Ending:
    if data == mutant(plan, 1)[1]:
        time.sleep(1000)
    return Ending(index=-1)


def _speaks(_data: bytes, _plan: Plan) -> Ending:
    os.write(2, b"a word")
    return Ending(index=-1)


@pytest.mark.parametrize(
    ("check", "reason"), [(_dies, "died with -11"), (_hangs, "took more than 1 s")]
)
def test_a_process_that_dies_or_hangs_is_noticed_and_another_goes_on(
    check: fuzzing.Check, reason: str
) -> None:
    endings = _endings(_plan(images=IMAGES[:3], count=3, limit_s=1.0, check=check))
    assert sorted(one.index for one in endings) == [0, 1, 2]
    (bad,) = (one for one in endings if one.unexpected)
    assert bad.index == 1
    assert bad.crashed
    assert reason in bad.unexpected[0]


def test_a_word_on_standard_error_is_noticed() -> None:
    (ending,) = _endings(_plan(images=IMAGES[:3], count=1, check=_speaks))
    assert ending.unexpected == ["wrote b'a word' to standard error"]
