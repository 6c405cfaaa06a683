"""Mutants of the soak: each can still be made of the code as it is, and counts as it must."""

import compileall
from pathlib import Path

import pytest

from bench.soak.faults import FAULTS
from bench.soak.mutants import MUTANTS, Change, Mutant, Noticed, mutated

UNCHANGED = Mutant(name="nothing", changes=(), faults=())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.partition(":")[0])
def test_a_mutant_is_the_checkout_without_one_protection(mutant: Mutant, tmp_path: Path) -> None:
    mutated(mutant, tmp_path)
    for change in mutant.changes:
        text = (tmp_path / change.path).read_text()
        assert change.old not in text
        assert change.new in text
        assert compileall.compile_file(tmp_path / change.path, quiet=1)
    assert FAULTS.keys() >= set(mutant.faults)


def test_a_mutant_whose_text_has_moved_on_is_refused(tmp_path: Path) -> None:
    gone = Change(path="db/record.py", old="a text that was never there", new="")
    with pytest.raises(SystemExit, match="stands 0 times"):
        mutated(Mutant(name="x", changes=(gone,), faults=()), tmp_path)


def test_it_must_be_the_right_invariant_that_notices() -> None:
    fence = MUTANTS[0]
    assert Noticed(mutant=fence, broken=("who has lost a claim records nothing",)).as_it_must
    assert not Noticed(mutant=fence, broken=("no orphaned object",)).as_it_must
    assert not Noticed(mutant=fence, broken=()).as_it_must
    assert Noticed(mutant=UNCHANGED, broken=()).as_it_must
    assert not Noticed(mutant=UNCHANGED, broken=("no orphaned object",)).as_it_must
