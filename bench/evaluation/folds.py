"""Ten folds of pairs, no person in two of them."""

import random
from collections import defaultdict
from collections.abc import Sequence

FOLDS = 10
SEED = 19795

Pair = tuple[int, int]


def folds_of(
    mated: Sequence[Pair], nonmated: Sequence[Pair], people: Sequence[int], *, seed: int = SEED
) -> tuple[list[int], list[int]]:
    """The fold of each pair; pairs are of photos, and `people` says whom a photo shows.

    Pairs that share a person, be it through other pairs, make a group that stays together. Groups
    are dealt out from the largest on, those of one size in the seed's order: each goes to the fold
    that has the fewest pairs of the kind that the group has most of.
    """
    leader = _leaders(mated, nonmated, people)
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for kind, pairs in enumerate((mated, nonmated)):
        for n, (photo, _) in enumerate(pairs):
            groups[leader[people[photo]]].append((kind, n))
    order = sorted(groups.values())
    random.Random(seed).shuffle(order)
    order.sort(key=len, reverse=True)
    result = [0] * len(mated), [0] * len(nonmated)
    counts = [[0, 0] for _ in range(FOLDS)]
    for group in order:
        of_kind = [sum(kind == one for one, _ in group) for kind in (0, 1)]
        main = 0 if of_kind[0] >= of_kind[1] else 1
        fold = min(range(FOLDS), key=lambda one: (counts[one][main], sum(counts[one]), one))
        for kind, n in group:
            result[kind][n] = fold
            counts[fold][kind] += 1
    return result


def _leaders(
    mated: Sequence[Pair], nonmated: Sequence[Pair], people: Sequence[int]
) -> dict[int, int]:
    """One person to stand for everybody who is joined by pairs."""
    parent = {people[photo]: people[photo] for pair in (*mated, *nonmated) for photo in pair}

    def top(person: int) -> int:
        while parent[person] != person:
            parent[person] = parent[parent[person]]
            person = parent[person]
        return person

    for one, other in nonmated:
        parent[top(people[one])] = top(people[other])
    return {person: top(person) for person in parent}
