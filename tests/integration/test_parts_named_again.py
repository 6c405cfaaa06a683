"""A part of an upload that was a photo before: it is one again only where its object stays."""

import uuid
from collections.abc import Sequence

import pytest
from api_kit import Api, BackgroundWorker
from ledger_kit import Kit, item
from race_kit import Second
from source_kit import Lister
from test_api_uploads import PHOTOS, begin, name, open_job, send
from test_races import read_as, read_by_its_owner

from db import erase, uploads
from db.places import PhotoPlace
from db.record import record
from db.session import Session, transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.tenancy import acting_for
from db.uploaded import UploadedPhoto, add_uploaded
from web.services import Services
from web.uploading import sent_photos
from workers.reconciler import Reconciler


def erase_job(kit: Kit, job: str) -> None:
    with transaction(kit.database) as session:
        erase.delete_job(session, kit.tenant_id, uuid.UUID(job))


def test_a_part_whose_object_goes_with_its_job_is_to_be_sent_again(
    api: Api, local: Kit, settings: Settings
) -> None:
    reconciler = Reconciler(settings, local.database, ObjectStore.from_settings(settings))
    upload = begin(api, PHOTOS[:1])
    to_send = {"accepted": 0, "missing": ["0.jpg"]}
    assert send(upload["files"][0], PHOTOS[0]) == 204
    first, job = open_job(api), open_job(api)
    assert name(api, first, upload, 0).json["accepted"] == 1
    erase_job(local, first)
    assert name(api, job, upload, 0).json == to_send
    # Even anew, for as long as the old one has not gone.
    assert send(upload["files"][0], PHOTOS[0]) == 204
    assert name(api, job, upload, 0).json == to_send
    reconciler.reconcile()
    assert name(api, job, upload, 0).json == to_send
    assert send(upload["files"][0], PHOTOS[0]) == 204
    assert name(api, job, upload, 0).json == {"accepted": 1, "missing": []}
    reconciler.reconcile()
    api.post(f"/v1/jobs/{job}/seal")
    with BackgroundWorker(settings):
        answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    assert answer.json["state"] == "succeeded"


def test_a_part_whose_object_is_still_there_but_goes_was_not_sent(
    api: Api, local: Kit, settings: Settings
) -> None:
    # Asked before the bucket is: between the two the object and all memory of it may go.
    upload = begin(api, PHOTOS[:2])
    for form, data in zip(upload["files"], PHOTOS[:2], strict=True):
        assert send(form, data) == 204
    job, keys = open_job(api), [f"{upload['id']}/{part}" for part in range(2)]
    name(api, job, upload, 0)
    erase_job(local, job)
    with acting_for(local.tenant_id):
        assert [*sent_photos(Services(settings), uuid.UUID(upload["id"]), keys)] == keys[1:]


class Parts:
    """An upload of the owner's, whose files are in the bucket."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        with transaction(kit.database) as session:
            self._id = uploads.begin_upload(session, kit.tenant_id)

    def key(self, part: int) -> str:
        return f"{self._id}/{part}"

    def add(self, session: Session, job_id: uuid.UUID, parts: Sequence[int]) -> list[str]:
        """Names them as photos of the job; returns the ids of those to be sent."""
        photos = [
            UploadedPhoto(
                client_id=str(part),
                place=PhotoPlace(
                    bucket=None, object_key=self.key(part), etag="e", size_bytes=1, entry=None
                ),
            )
            for part in parts
        ]
        return add_uploaded(session, self._kit.tenant_id, job_id, self._id, photos)

    def added(self, job_id: uuid.UUID, *parts: int) -> list[str]:
        with transaction(self._kit.database) as session:
            return self.add(session, job_id, parts)


@pytest.fixture
def parts(kit: Kit) -> Parts:
    return Parts(kit)


def test_a_part_that_goes_while_it_is_named_is_to_be_sent_again(
    kit: Kit,
    parts: Parts,
    second: Second,
) -> None:
    first, job_id = kit.job(seal=False), kit.job(seal=False)
    assert parts.added(first, 0) == []
    with transaction(kit.database) as session:
        erase.delete_job(session, kit.tenant_id, first)
        naming = second.begin(lambda other: parts.add(other, job_id, [0, 1]))
    assert naming.result() == ["0"]
    assert kit.view(job_id).n_items == 1


def test_a_part_that_turns_out_known_while_it_is_named_is_to_be_sent_again(
    kit: Kit,
    parts: Parts,
    second: Second,
) -> None:
    kit.job(item("p"))
    first, job_id = kit.job(seal=False), kit.job(seal=False)
    parts.added(first, 0)
    (claimed,) = [one for one in kit.claim_all() if one.sha256 is None]
    with transaction(kit.database) as session:
        record(session, [read_as(claimed, "p")])
        naming = second.begin(lambda other: parts.add(other, job_id, [0]))
    assert naming.result() == ["0"]
    assert kit.view(job_id).n_items == 0


def test_a_part_that_takes_its_owners_objects_place_while_it_is_named_is_that_photo(
    lister: Lister, parts: Parts, second: Second
) -> None:
    kit = lister.kit
    read_by_its_owner(lister, "p")
    first, job_id = kit.job(seal=False), kit.job(seal=False)
    parts.added(first, 0)
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        record(session, [read_as(claimed, "p")])
        naming = second.begin(lambda other: parts.add(other, job_id, [0]))
    assert naming.result() == []
    (photo,) = lister.photos().values()
    assert [one.photo_id for one in lister.items(job_id)] == [photo.id]
