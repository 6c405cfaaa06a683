"""The faults: what can happen to each part, at any moment."""

import functools
import os
import shutil
import signal
import time
from collections.abc import Callable

import psutil
import redis

from bench.soak.hand import Effect, Hand, NothingThereError, halted, kill, kill_group
from bench.soak.overtaken import worker_overtaken
from bench.soak.stack import LOOK_EVERY_S
from db.failpoints import Failpoint

Fault = Callable[[Hand], Effect]
SHORT_STOP_S = (1.0, 3.0)
AWAY_S = (0.3, 1.5)
FULL_S = (1.5, 4.0)
DISK_FULL = "disk full"
ARMED_LIMIT_S = 2.0
"""A failpoint that nobody reaches in this time is disarmed."""


def worker_child_killed(hand: Hand) -> Effect:
    """One of the processes that compute, in the middle of it."""
    hand.until_busy()
    pid = hand.child("worker")
    os.kill(pid, signal.SIGSTOP)  # What it holds now, it holds when it dies.
    held = hand.claims()
    kill(pid)
    hand.watch.over("worker child killed", held)
    return Effect(said=f"process {pid}; workers held {len(held)} items")


def worker_killed(hand: Hand) -> Effect:
    """All of them, with their parent."""
    hand.until_busy()
    pid = hand.pid("worker")
    os.killpg(pid, signal.SIGSTOP)
    held = hand.claims()
    kill_group(pid)
    hand.watch.over("worker killed", held)
    return Effect(said=f"group {pid}; workers held {len(held)} items")


def worker_child_halted(hand: Hand) -> Effect:
    """One that goes on, when others have its items, as if nothing had been."""
    hand.until_busy()
    return halted(hand.child("worker"), hand.beyond_lease_s, "process")


def worker_halted(hand: Hand) -> Effect:
    """All of them, likewise."""
    hand.until_busy()
    return halted(hand.pid("worker"), hand.beyond_lease_s, "group", group=True)


def part_killed(part: str, hand: Hand) -> Effect:
    """A part with all that it has started; the supervisor starts it again."""
    pid = hand.pid(part)
    kill_group(pid)
    return Effect(said=f"group {pid}")


def part_halted(part: str, hand: Hand) -> Effect:
    """A part that does not answer and is not gone."""
    return halted(hand.pid(part), hand.rng.uniform(*SHORT_STOP_S), "group", group=True)


def child_killed(part: str, hand: Hand) -> Effect:
    """One process of a part."""
    pid = hand.child(part)
    kill(pid)
    return Effect(said=f"process {pid}")


def child_halted(part: str, hand: Hand) -> Effect:
    """One process of a part that does not answer and is not gone."""
    return halted(hand.child(part), hand.rng.uniform(*SHORT_STOP_S), "process")


def postgresql_stopped_immediately(hand: Hand) -> Effect:
    """As its administrator would in a hurry: no transaction is finished, no client told."""
    pid = hand.pid("postgresql")
    os.kill(pid, signal.SIGQUIT)
    return Effect(said=f"process {pid}")


def postgresql_backend_killed(hand: Hand) -> Effect:
    """One that serves a client: the server throws them all out and recovers."""
    serving = [pid for pid in hand.stack.children("postgresql") if _serves(pid)]
    if not serving:
        raise NothingThereError("nobody is connected")
    pid = hand.rng.choice(serving)
    kill(pid)
    return Effect(said=f"process {pid}")


def valkey_emptied(hand: Hand) -> Effect:
    """Killed, and its data deleted, before anybody can start it again."""
    pid = hand.pid("valkey")
    sent = hand.sent()
    supervisor = hand.stack.running
    supervisor.send_signal(signal.SIGSTOP)
    kill_group(pid)
    shutil.rmtree(hand.stack.home.valkey)
    time.sleep(hand.rng.uniform(*AWAY_S))
    supervisor.send_signal(signal.SIGCONT)
    hand.flushed |= sent
    return Effect(said=f"group {pid}; {len(sent)} items had been sent")


def valkey_flushed(hand: Hand) -> Effect:
    """FLUSHALL."""
    hand.until_busy()
    sent = hand.sent()
    try:
        with redis.Redis.from_url(hand.stack.redis_url, socket_timeout=2) as client:
            client.flushall()
    except redis.RedisError as exc:
        raise NothingThereError("valkey is away") from exc
    hand.flushed |= sent
    return Effect(said=f"{len(sent)} items had been sent")


def disk_full(hand: Hand) -> Effect:
    """No room for anybody's next byte."""
    if isinstance(hand.disk, str):
        raise NothingThereError(hand.disk)
    lasts_s = hand.rng.uniform(*FULL_S)
    filled_bytes = hand.disk.fill()
    said = f"{filled_bytes // 1_000_000} MB of nothing for {lasts_s:.1f} s"
    return Effect(said=said, lasts_s=lasts_s, undo=hand.disk.free)


def at_failpoint(point: Failpoint, hand: Hand) -> Effect:
    """Whoever next comes to this point between two steps dies there."""
    claims = hand.claims()
    order = hand.stack.arm(point)
    hand.pace.want_work()
    give_up_at = time.monotonic() + ARMED_LIMIT_S
    while order.exists():
        if time.monotonic() > give_up_at:
            order.unlink(missing_ok=True)
            raise NothingThereError("nobody came by")
        time.sleep(LOOK_EVERY_S)
    hand.watch.over(f"killed at {point}", claims)
    return Effect(said="somebody died there")


def _serves(pid: int) -> bool:
    try:
        return "facebatch" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


NOT_COME_TO = {
    *(Failpoint.RECONCILER_STEP, Failpoint.OBJECTS_DELETED, Failpoint.EXPORT_STORED),
    Failpoint.EVENT_SENT,
}
"""Failpoints that the soak's jobs do not lead to, or not surely."""
FAULTS: dict[str, Fault] = {
    "worker child killed": worker_child_killed,
    "worker killed": worker_killed,
    "worker child halted": worker_child_halted,
    "worker halted": worker_halted,
    "worker overtaken": worker_overtaken,
    "dispatcher killed": functools.partial(part_killed, "dispatcher"),
    "dispatcher halted": functools.partial(part_halted, "dispatcher"),
    "reconciler killed": functools.partial(part_killed, "reconciler"),
    "reconciler halted": functools.partial(part_halted, "reconciler"),
    "web killed": functools.partial(part_killed, "web"),
    "web child killed": functools.partial(child_killed, "web"),
    "web child halted": functools.partial(child_halted, "web"),
    "valkey killed": functools.partial(part_killed, "valkey"),
    "valkey halted": functools.partial(part_halted, "valkey"),
    "valkey emptied": valkey_emptied,
    "valkey flushed": valkey_flushed,
    "postgresql killed": functools.partial(part_killed, "postgresql"),
    "postgresql stopped immediately": postgresql_stopped_immediately,
    "postgresql backend killed": postgresql_backend_killed,
    "seaweedfs killed": functools.partial(part_killed, "seaweedfs"),
    "seaweedfs halted": functools.partial(part_halted, "seaweedfs"),
    DISK_FULL: disk_full,
    **{
        f"death at {point}": functools.partial(at_failpoint, point)
        for point in Failpoint
        if point not in NOT_COME_TO
    },
}
"""All that a soak does, by name."""
