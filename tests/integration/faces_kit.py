"""What tests of faces of jobs share: jobs of real photos, and faces without photos."""

import uuid
from typing import Any

from api_kit import Api, Photo, image, photo
from ledger_kit import Kit, done, item, photo_of

from cli.sample import Sample

PORTRAITS = ("obama2.jpg", "obama3.jpg", "obama_and_biden.jpg", "biden_mirrored.jpg")


def sent(api: Api, *photos: Photo, **fields: Any) -> dict[str, Any]:
    """A job of the photos that has ended: its results, and the job's id as `id`."""
    answer = api.submit(*photos, wait=60, **({"kind": "detect"} | fields))
    assert answer.status_code == 200, answer.text
    return {**answer.json, "id": answer.json["job"]["id"]}


def of_the_sample(api: Api, sample: Sample, *names: str, **fields: Any) -> dict[str, Any]:
    """A job of photos of the sample, by default of Obama and of Biden, and one of nobody."""
    shown = [photo(sample.photos_dir / name) for name in names or PORTRAITS]
    return sent(api, *shown, ("grey.jpg", image()), **fields)


def faces_of(job: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The faces of a photo of the job, from left to right."""
    (one,) = [one for one in job["results"] if one["name"] == name]
    return sorted(one["faces"], key=lambda face: face["box"][0])


def of_nobody(kit: Kit, *photos: tuple[int, ...], **wanted: object) -> uuid.UUID:
    """An ended job with photos that show faces of these seeds, and have no bytes."""
    job_id = kit.job(*(item(f"{n}.jpg", uuid.uuid4().hex) for n in range(len(photos))), **wanted)
    claims = kit.claim_all()
    kit.record(*(done(one, photo_of(*seeds)) for one, seeds in zip(claims, photos, strict=True)))
    return job_id
