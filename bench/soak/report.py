"""What a soak prints at its end."""

from collections import Counter
from collections.abc import Sequence

from bench.soak.invariants import Verdict
from bench.soak.nemesis import Struck
from bench.soak.run import Outcome


def fault_table(struck: Sequence[Struck]) -> str:
    """How often each fault struck."""
    rows = [("FAULT", "STRUCK", "MISSED", "WHY")]
    for name in sorted({one.name for one in struck}):
        these = [one for one in struck if one.name == name]
        missed = [one.said.removeprefix("missed: ") for one in these if one.missed]
        rows.append(
            (name, str(len(these) - len(missed)), str(len(missed)), ", ".join(sorted({*missed})))
        )
    return table(rows)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Each invariant, and whether it holds."""
    rows = [("INVARIANT", "HOLDS", "SEEN")]
    rows += [(one.name, "yes" if one.holds else "NO", one.said) for one in verdicts]
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in columns."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def summary(outcome: Outcome, seed: int, items: int) -> dict[str, object]:
    """A soak in numbers."""
    struck = Counter(one.name for one in outcome.struck if not one.missed)
    missed = Counter(one.name for one in outcome.struck if one.missed)
    return {
        "seed": seed,
        "items": items,
        "accepted": outcome.accepted,
        "jobs": outcome.jobs,
        "faults": struck.total(),
        "faults_by_kind": dict(sorted(struck.items())),
        "faults_missed": dict(sorted(missed.items())),
        "settled_s": round(outcome.settled_s, 1),
        "rerun_s_max": round(outcome.rerun_s, 1),
        "broken": [one.name for one in outcome.verdicts if not one.holds],
        "passed": all(one.holds for one in outcome.verdicts),
    }
