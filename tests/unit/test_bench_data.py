"""Who is in the photos that engines are measured on."""

from pathlib import Path

from bench.evaluation.data import TWO_NAMES, lfw


def test_the_published_pairs_are_all_there_and_on_their_side(photos_dir: Path) -> None:
    photos, pairs = lfw(photos_dir / "lfw")
    assert (len(photos), len(pairs.mated), len(pairs.nonmated)) == (3443, 1100, 1100)
    assert all(photos.people[one] == photos.people[other] for one, other in pairs.mated)
    assert all(photos.people[one] != photos.people[other] for one, other in pairs.nonmated)


def test_people_are_numbered_without_gaps_and_two_names_are_one_person(photos_dir: Path) -> None:
    photos, _ = lfw(photos_dir / "lfw")
    names = sorted({path.parent.name for path in photos.paths})
    number = dict(zip((path.parent.name for path in photos.paths), photos.people, strict=True))
    lines = [tuple(map(int, line.split(","))) for line in TWO_NAMES.read_text().split()[1:]]
    assert sorted(set(photos.people)) == list(range(len(names) - len(lines)))
    assert lines
    for first, second in lines:
        assert number[names[first]] == number[names[second]]
