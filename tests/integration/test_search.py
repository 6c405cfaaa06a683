"""Search in memory gives what the tables hold at that moment, to the last bit."""

from collections.abc import Iterator

import pytest
from ledger_kit import Kit
from search_kit import Crowd, Searching, enrol

from db.session import transaction
from db.snapshots.searching import Searcher

ROOMY = 100_000_000


@pytest.fixture
def searching(kit: Kit) -> Iterator[Searching]:
    searcher = Searcher(kit.database, max_bytes=ROOMY)
    yield Searching(kit=kit, searcher=searcher)
    searcher.close()


@pytest.mark.parametrize("top_k", [1, 5, 100])
@pytest.mark.parametrize("each", [1, 3])
def test_memory_and_tables_agree(kit: Kit, searching: Searching, top_k: int, each: int) -> None:
    crowd = Crowd(top_k + each)
    with transaction(kit.database) as session:
        gallery_id = enrol(session, kit, "large", crowd.vectors(3000), each=each)
    searching.read(gallery_id)
    assert searching.in_memory(gallery_id)
    probes = crowd.vectors(9)
    found = searching.asked([gallery_id], probes, top_k=top_k)
    assert found == searching.by_database([gallery_id], probes, top_k=top_k)
    assert {len(one) for one in found} == {top_k}
