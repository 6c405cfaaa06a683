"""The invariants of the design, checked from the journal and the tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from bench.soak.journal import Accepted
from bench.soak.nemesis import Struck
from bench.soak.photos import Finding
from bench.soak.tables import FINAL, ItemRow, JobRow, Tables
from bench.soak.watch import Rerun
from db.allowed import SOURCES_FOLDER
from db.storage import PROBE_KEY

RERUN_LIMIT_S = 90.0
SHOWN = 3
"""So many examples of what is wrong are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether something that must hold does."""

    name: str
    wrong: tuple[str, ...]
    """What contradicts it, thing by thing."""
    seen: str = ""
    """What was looked at."""

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts it."""
        return not self.wrong

    @property
    def said(self) -> str:
        """One line for people."""
        if self.holds:
            return self.seen
        more = f" and {len(self.wrong) - SHOWN} more" if len(self.wrong) > SHOWN else ""
        return "; ".join(self.wrong[:SHOWN]) + more


def accepted_items_end_once(accepted: Sequence[Accepted], tables: Tables) -> Verdict:
    """Every photo that was accepted is one item, of these bytes, in one final state."""
    rows: dict[tuple[str, str], list[ItemRow]] = defaultdict(list)
    for row in tables.items:
        rows[row.job_id, row.name].append(row)
    wrong = [
        trouble
        for one in accepted
        if (trouble := _not_ended_once(one, rows[one.job_id, one.name])) is not None
    ]
    open_rows = [f"item {row.item_id} is {row.state}" for row in tables.items if _is_open(row)]
    return Verdict(
        name="every accepted item is in exactly one final state",
        wrong=(*wrong, *open_rows),
        seen=f"{len(accepted)} accepted, {len(tables.items)} items: {_states(tables)}",
    )


def _is_open(row: ItemRow) -> bool:
    return row.state not in FINAL


def _not_ended_once(one: Accepted, rows: Sequence[ItemRow]) -> str | None:
    if len(rows) != 1:
        return f"{one.name} ({one.way}) is {len(rows)} items of job {one.job_id}"
    if rows[0].sha256 != one.sha256:
        return f"item {rows[0].item_id} has other bytes than {one.name}"
    return None


def _states(tables: Tables) -> str:
    counted = Counter(row.state for row in tables.items)
    return ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))


def one_result_set(tables: Tables) -> Verdict:
    """At most one result set per item and model, complete; and counters equal rows."""
    wrong = [f"{count} x {what} doubled" for what, count in tables.doubled.items() if count]
    for row in tables.items:
        if row.faces != row.embeddings:
            wrong.append(f"item {row.item_id}: {row.faces} faces, {row.embeddings} embeddings")
        if row.state in {"done", "no_face"} and not row.extracted:
            wrong.append(f"item {row.item_id} is {row.state} and has no result set")
    by_job: dict[str, Counter[str]] = defaultdict(Counter)
    for row in tables.items:
        by_job[row.job_id][row.state] += 1
    for job in tables.jobs:
        wrong += _miscounted(job, by_job[job.job_id])
    return Verdict(
        name="at most one result set per item and model, and counters equal rows",
        wrong=tuple(wrong),
        seen=f"{len(tables.jobs)} jobs",
    )


def _miscounted(job: JobRow, found: Mapping[str, int]) -> Iterator[str]:
    counters = {
        "done": job.n_done,
        "no_face": job.n_no_face,
        "failed": job.n_failed,
        "cancelled": job.n_cancelled,
    }
    for state, count in counters.items():
        if found[state] != count:
            yield f"job {job.job_id} counts {count} {state}, and {found[state]} are"
    if sum(found.values()) != job.n_items:
        yield f"job {job.job_id} counts {job.n_items} items, and {sum(found.values())} are"


def one_completion_event(sealed: Set[str], tables: Tables) -> Verdict:
    """Each job that was sealed has ended, with one event for each time that it was begun."""
    wrong = []
    for job in tables.jobs:
        ended = job.state not in {"queued", "running"}
        if job.sealed and not ended:
            wrong.append(f"job {job.job_id} is sealed and {job.state}")
        if job.events != (job.round if ended else job.round - 1):
            wrong.append(f"job {job.job_id} is {job.state} and has {job.events} events")
    known = {job.job_id for job in tables.jobs if job.sealed}
    wrong += [f"job {one} was sealed, and is not" for one in sorted(sealed - known)]
    return Verdict(
        name="one completion event per job",
        wrong=tuple(wrong),
        seen=f"{sum(job.events for job in tables.jobs)} events of {len(known)} sealed jobs",
    )


def rerun_in_time(reruns: Sequence[Rerun], struck: Sequence[Struck]) -> Verdict:
    """What a killed worker held has ended, or another has it, within 90 s.

    The time in which another fault lasted does not count.
    """
    waits_s = [_counted_s(one, struck) for one in reruns]
    wrong = [
        f"{one.items} items waited {waited_s:.0f} s after {one.fault}"
        for one, waited_s in zip(reruns, waits_s, strict=True)
        if waited_s > RERUN_LIMIT_S
    ]
    items = sum(one.items for one in reruns)
    return Verdict(
        name="a killed worker's items run again within 90 s",
        wrong=tuple(wrong),
        seen=f"{items} items, {max(waits_s, default=0):.1f} s at the most",
    )


def longest_rerun_s(reruns: Sequence[Rerun], struck: Sequence[Struck]) -> float:
    """How long an item of a killed worker waited at the most, as the invariant counts."""
    return max((_counted_s(one, struck) for one in reruns), default=0.0)


def _counted_s(rerun: Rerun, struck: Sequence[Struck]) -> float:
    began_s, ended_s = rerun.began_s, rerun.began_s + rerun.waited_s
    disturbed_s, upto_s = 0.0, began_s
    for one in sorted(struck, key=lambda fault: fault.began_s):
        start_s, end_s = max(one.began_s, upto_s), min(one.ended_s, ended_s)
        if end_s > start_s:
            disturbed_s += end_s - start_s
            upto_s = end_s
    return rerun.waited_s - disturbed_s


def lost_claims_record_nothing(overtaken: int, usurped: Sequence[str]) -> Verdict:
    """Who has lost a claim ends no item under the claim of another."""
    return Verdict(
        name="who has lost a claim records nothing",
        wrong=tuple(usurped),
        seen=f"{overtaken} items were taken over from workers that went on",
    )


def flush_lost_nothing(flushed: Set[int], tables: Tables) -> Verdict:
    """What was on its way when the queue lost everything has ended all the same."""
    states = {row.item_id: row.state for row in tables.items}
    wrong = [
        f"item {item_id} is {states.get(item_id, 'gone')}"
        for item_id in sorted(flushed)
        if states.get(item_id) not in FINAL
    ]
    return Verdict(
        name="FLUSHALL loses nothing",
        wrong=tuple(wrong),
        seen=f"{len(flushed)} items had been sent when the queue was emptied",
    )


def as_undisturbed(expected: Mapping[str, Finding], tables: Tables) -> Verdict:
    """Each photo shows what the bare engine finds in it."""
    wrong = [
        f"item {row.item_id} is {row.state} with {row.faces} faces"
        f" ({row.error_code or 'no error'}), and {expected[row.sha256 or '']} was expected"
        for row in tables.items
        if not _is_open(row) and not _is_as_expected(row, expected[row.sha256 or ""])
    ]
    return Verdict(
        name="results are those of an undisturbed run",
        wrong=tuple(wrong),
        seen=f"{sum(row.faces for row in tables.items)} faces",
    )


def _is_as_expected(row: ItemRow, expected: Finding) -> bool:
    if expected.error_code is not None:
        return (row.state, row.error_code) == ("failed", expected.error_code)
    return (row.state, row.faces) == ("done" if expected.faces else "no_face", expected.faces)


def no_orphans(keys: Iterable[str], tables: Tables) -> Verdict:
    """The bucket holds the photos' objects and no others, and nothing waits to be deleted.

    What lies below the folder of sources is not ours. The object by which workers see whether the
    bucket works is nobody's, and stays.
    """
    there = {key for key in keys if not key.startswith(f"{SOURCES_FOLDER}/")} - {PROBE_KEY}
    wrong = [f"{key} is in the bucket and no photo's" for key in there - tables.object_keys]
    wrong += [f"{key} is a photo's and not in the bucket" for key in tables.object_keys - there]
    wrong += [f"{key} is still to be deleted" for key in tables.doomed_keys]
    wrong += [f"{tables.uploads} uploads were never given up"] if tables.uploads else []
    return Verdict(
        name="no orphaned object", wrong=tuple(sorted(wrong)), seen=f"{len(there)} objects"
    )
