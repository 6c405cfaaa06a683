"""For whom the photos of a zip are enrolled, and whom a request may name for them."""

from api_kit import Api, image, made, refused
from source_kit import zipped
from werkzeug.test import TestResponse


def send_zip(api: Api, job: str, subject: str) -> TestResponse:
    data = zipped({"a.jpg": image()})
    return api.send(f"/v1/jobs/{job}/photos?subject={subject}", [("a.zip", data)], field="archive")


def no_zip_of(api: Api, job: str) -> bool:
    return not api.get(f"/v1/jobs/{job}/sources").json["sources"]


def test_a_zip_is_not_enrolled_for_another_than_its_request_names(api: Api) -> None:
    gallery = api.gallery()
    obama, biden = api.subject(gallery, "obama"), api.subject(gallery, "biden")
    wanted = {"kind": "enrol", "gallery": gallery}
    job = made(api.post("/v1/jobs", json={**wanted, "subject": obama}))
    said = refused(send_zip(api, job, biden), 422, "subject_not_allowed")
    assert "zip" in said
    assert no_zip_of(api, job)
    assert send_zip(api, job, obama).status_code == 200  # As with photos.
    # Whom it names is passed over in no other kind of job either.
    job = made(api.post("/v1/jobs", json={"kind": "identify", "gallery": gallery}))
    refused(send_zip(api, job, obama), 422, "subject_not_allowed")
    assert no_zip_of(api, job)


def test_a_zip_whose_request_names_the_subject_is_told_to_name_it_in_the_job(api: Api) -> None:
    gallery = api.gallery()
    job = made(api.post("/v1/jobs", json={"kind": "enrol", "gallery": gallery}))
    said = refused(send_zip(api, job, api.subject(gallery, "obama")), 422, "subject_not_allowed")
    assert "name it in the job" in said
    assert no_zip_of(api, job)
