"""Loops end at a signal, at once and always."""

import signal
import time

import pytest

from workers.loop import StopSignal


@pytest.fixture
def stop() -> StopSignal:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield StopSignal()
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_this_wait_and_all_later_ones(stop: StopSignal, how: signal.Signals) -> None:
    assert not stop
    began_at = time.monotonic()
    signal.raise_signal(how)
    for _ in range(3):
        stop.wait(60)
    assert stop
    assert time.monotonic() - began_at < 60


def test_without_a_signal_the_wait_ends_in_time(stop: StopSignal) -> None:
    stop.wait(0.01)
    assert not stop


def test_two_signals_are_as_good_as_one(stop: StopSignal) -> None:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stop
