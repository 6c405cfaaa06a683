"""`make soak-mutants`: the soak with one protection taken out at a time, which it must notice.

Each mutant is a copy of the checkout in a temporary folder, changed by exact replacement; nothing
here is touched. A copy in which nothing is changed goes first, and must stay green under all faults
that turn a mutant red. The last line is one JSON object; exits with 1 where a mutant goes
unnoticed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.photos import DATA, REPOSITORY
from bench.soak.report import table

PACKAGES = ("bench", "cli", "db", "pipeline", "requirements", "web", "workers")
LIMIT_S = 900
WITHIN_S = "25"
"""From the last fault to the end of the last item: with short leases it takes a few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A replacement of text in one file, where it stands once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """facebatch without one of its protections, and the faults that show it."""

    name: str
    changes: tuple[Change, ...]
    faults: tuple[str, ...]
    turns_red: str = ""
    """The invariant that must notice, or part of its name."""
    items: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What a soak of a mutant said."""

    mutant: Mutant
    broken: tuple[str, ...]

    @property
    def as_it_must(self) -> bool:
        """Whether the right invariant is broken, or none where nothing was taken out."""
        if not self.mutant.changes:
            return not self.broken
        return any(self.mutant.turns_red in name for name in self.broken)


MUTANTS = (
    Mutant(
        name="no fence: whoever has an item's outcome records it",
        changes=(
            Change(
                path="db/record.py",
                old="item.id = mine.id AND item.fence = mine.fence AND item.state",
                new="item.id = mine.id AND item.state",
            ),
            Change(
                path="db/record.py",
                old="item.id = ended.id AND item.fence = ended.fence AND item.state",
                new="item.id = ended.id AND item.state",
            ),
        ),
        faults=("worker overtaken",) * 2,
        turns_red="lost a claim",
    ),
    Mutant(
        name="no unique key: two result sets of a photo and a model",
        changes=(
            Change(
                path="db/migrations/versions/0001_the_ledger_and_the_galleries.py",
                old='        sa.UniqueConstraint("photo_id", "model_id", '
                'name=op.f("uq_extraction_photo_id_model_id")),\n',
                new="",
            ),
            Change(
                path="db/found.py",
                old="    ON CONFLICT (photo_id, model_id) DO NOTHING\n",
                new="",
            ),
        ),
        faults=("dispatcher halted",) * 8,
        turns_red="at most one result set",
        items=120,
    ),
    Mutant(
        name="no unique client id: what is sent again is added again",
        changes=(
            Change(
                path="db/migrations/versions/0001_the_ledger_and_the_galleries.py",
                old='        sa.UniqueConstraint("job_id", "client_id", '
                'name=op.f("uq_item_job_id_client_id")),\n',
                new="",
            ),
            Change(
                path="db/accept.py",
                old="    known = {row.client_id: row.photo_id or row.error_code for row in rows}\n",
                new="    known: dict[str | None, object] = dict[str | None, object]()\n",
            ),
        ),
        faults=("death at accepted",) * 6,
        turns_red="every accepted item",
    ),
    Mutant(
        name="no reconciler",
        changes=(
            Change(path="workers/reconciler.py", old="        reconciler.reconcile()\n", new=""),
        ),
        # A worker that holds nothing just then leaves nothing behind.
        faults=("worker killed",) * 4,
        turns_red="every accepted item",
    ),
    Mutant(
        name="no second message for items whose first was lost",
        changes=(
            Change(
                path="workers/reconciler.py",
                old='            "messages_lost": self._resend_stale,\n',
                new="",
            ),
        ),
        faults=("valkey flushed", "death at message_taken", "valkey emptied"),
        turns_red="FLUSHALL",
    ),
    Mutant(
        name="no row for an upload: what a dead request has sent stays",
        changes=(
            Change(path="db/uploads.py", old="    session.execute(_BEGIN, values)\n", new=""),
            Change(
                path="db/uploads.py",
                old="key_share=True)).one_or_none() is None",
                new="key_share=True)).one_or_none() is not None",
            ),
        ),
        faults=("death at photo_stored",) * 2,
        turns_red="orphaned",
    ),
)


def main() -> int:
    """Runs the command."""
    options = _options()
    chosen = [one for one in MUTANTS if any(word in one.name for word in options.only or [""])]
    control = Mutant(
        name="nothing taken out",
        changes=(),
        faults=tuple(sorted({fault for one in chosen for fault in one.faults})),
    )
    results = []
    for mutant in (control, *chosen):
        print(f"{mutant.name} …", flush=True)
        results.append(_soaked(mutant))
        print(f"  {', '.join(results[-1].broken) or 'green'}", flush=True)
    print("\n" + _table(results) + "\n")
    wrong = [one.mutant.name for one in results if not one.as_it_must]
    told = {
        "mutants": len(chosen),
        "red_by": {one.mutant.name: one.broken for one in results},
        "wrong": wrong,
        "passed": not wrong,
    }
    print(json.dumps(told))
    return int(bool(wrong))


def mutated(mutant: Mutant, folder: Path) -> None:
    """Writes the changed copy into `folder`; raises `SystemExit` where a text is not there once."""
    for package in PACKAGES:
        shutil.copytree(
            REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for change in mutant.changes:
        path = folder / change.path
        text = path.read_text(encoding="utf-8")
        if text.count(change.old) != 1:
            raise SystemExit(
                f"'{mutant.name}' replaces a text that stands {text.count(change.old)} times in "
                f"{change.path}; put bench/soak/mutants.py right:\n{change.old}"
            )
        path.write_text(text.replace(change.old, change.new), encoding="utf-8")


def _soaked(mutant: Mutant) -> Noticed:
    with tempfile.TemporaryDirectory(prefix="facebatch-mutant-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)
        mutated(mutant, folder)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bench.soak", "--items", str(mutant.items)),
                *("--within-s", WITHIN_S, "--faults", ",".join(mutant.faults)),
            ],
            cwd=folder,
            env=os.environ
            | {
                # Before the checkout, of which the virtual environment knows.
                "PYTHONPATH": str(folder),
                "FACEBATCH_TEST_DATA": str(DATA),
                # What it keeps because it has turned red goes with the copy.
                "TMPDIR": str(folder),
            },
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    return Noticed(mutant=mutant, broken=_broken(done))


def _broken(done: subprocess.CompletedProcess[str]) -> tuple[str, ...]:
    try:
        return tuple(json.loads(done.stdout.splitlines()[-1])["broken"])
    except (IndexError, ValueError, TypeError, KeyError):
        raise SystemExit(
            f"a soak ended without its verdicts:\n{done.stdout}{done.stderr}"
        ) from None


def _table(results: Sequence[Noticed]) -> str:
    rows = [("TAKEN OUT", "AS IT MUST", "BROKEN")]
    rows += [
        (one.mutant.name, "yes" if one.as_it_must else "NO", "; ".join(one.broken) or "-")
        for one in results
    ]
    return table(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak-mutants", description=__doc__)
    parser.add_argument("only", nargs="*", help="mutants whose names hold one of these words")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
