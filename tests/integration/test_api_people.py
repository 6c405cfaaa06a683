"""Galleries and subjects over HTTP."""

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, image, made, photo, refused
from ledger_kit import Kit

from cli.sample import Sample


def test_a_gallery_is_created_read_listed_and_deleted(api: Api) -> None:
    answer = api.post("/v1/galleries", json={"name": "people"})
    gallery = made(answer)
    assert answer.headers["Location"] == f"/v1/galleries/{gallery}"
    read = api.get(f"/v1/galleries/{gallery}").json
    assert read == answer.json
    assert read["engine"] == {"name": "dlib", "version": "1"}
    assert (read["dimension"], read["subjects"], read["templates"]) == (128, 0, 0)
    assert [one["id"] for one in api.get("/v1/galleries").json["galleries"]] == [gallery]
    assert api.delete(f"/v1/galleries/{gallery}").status_code == 204
    refused(api.get(f"/v1/galleries/{gallery}"), 404, "gallery_not_found")
    refused(api.delete(f"/v1/galleries/{gallery}"), 404, "gallery_not_found")


def test_gallery_names_are_unique(api: Api) -> None:
    api.gallery("people")
    refused(api.post("/v1/galleries", json={"name": "people"}), 409, "gallery_exists")


def test_an_unknown_engine_is_refused_with_those_there_are(api: Api) -> None:
    answer = api.post("/v1/galleries", json={"name": "people", "engine": "eyes"})
    assert "dlib-classic" in refused(answer, 422, "engine_unknown")


def test_lists_come_in_pages_without_gaps(api: Api) -> None:
    gallery = api.gallery()
    names = [f"person {n}" for n in range(5)]
    for name in names:
        api.subject(gallery, name)
    found, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"/v1/galleries/{gallery}/subjects", query_string=query).json
        assert len(page["subjects"]) <= 2
        found += [one["name"] for one in page["subjects"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == names


def test_one_entry_is_found_by_its_exact_name(api: Api) -> None:
    api.gallery("a")
    gallery = api.gallery("b")
    found = api.get("/v1/galleries", query_string={"name": "b"}).json["galleries"]
    assert [one["id"] for one in found] == [gallery]


def test_a_subject_is_created_read_renamed_and_deleted(api: Api) -> None:
    gallery = api.gallery()
    path = f"/v1/galleries/{gallery}/subjects"
    subject = api.subject(gallery, "anna")
    here = f"{path}/{subject}"
    assert api.get(here).json["name"] == "anna"
    assert api.patch(here, json={"name": "anne"}).json["name"] == "anne"
    assert [one["name"] for one in api.get(path).json["subjects"]] == ["anne"]
    assert api.delete(here).status_code == 204
    refused(api.get(here), 404, "subject_not_found")
    refused(api.patch(here, json={"name": "x"}), 404, "subject_not_found")
    refused(api.delete(here), 404, "subject_not_found")


def test_subject_names_are_unique_in_their_gallery(api: Api) -> None:
    gallery = api.gallery()
    anna = api.subject(gallery, "anna")
    api.subject(gallery, "ben")
    path = f"/v1/galleries/{gallery}/subjects"
    refused(api.post(path, json={"name": "anna"}), 409, "duplicate_subject")
    refused(api.patch(f"{path}/{anna}", json={"name": "ben"}), 409, "duplicate_subject")
    api.subject(api.gallery("other"), "anna")


@pytest.mark.parametrize(
    "name", ["Zoë Kravitz", "李小龍", "a/b", "../..", " x ", "👩‍👩‍👧", "x" * 255]
)
def test_a_name_is_kept_as_it_is(api: Api, name: str) -> None:
    gallery = api.gallery()
    subject = api.subject(gallery, name)
    path = f"/v1/galleries/{gallery}/subjects"
    assert api.get(f"{path}/{subject}").json["name"] == name
    assert api.get(path, query_string={"name": name}).json["subjects"][0]["id"] == subject


@pytest.mark.parametrize(
    "name",
    ["", "  ", "x" * 256, "x" * 10_000, "a\0b", "a\nb", "\x7f", "a\x85b", "a\u202eb", "a\u2028b"],
)
def test_a_name_that_cannot_be_kept_is_refused(api: Api, name: str) -> None:
    refused(api.post("/v1/galleries", json={"name": name}), 422, "name_invalid")
    gallery = api.gallery()
    path = f"/v1/galleries/{gallery}/subjects"
    refused(api.post(path, json={"name": name}), 422, "name_invalid")
    subject = api.subject(gallery, "anna")
    refused(api.patch(f"{path}/{subject}", json={"name": name}), 422, "name_invalid")


def test_a_list_cannot_be_asked_for_a_name_that_cannot_be(api: Api) -> None:
    refused(api.get("/v1/galleries", query_string={"name": "a\0"}), 422, "name_invalid")


def test_half_a_character_is_refused(api: Api) -> None:
    answer = api.post("/v1/galleries", data='{"name": "\\ud800"}', content_type="application/json")
    refused(answer, 422, "name_invalid")


def test_an_unknown_gallery_or_subject_is_named(api: Api) -> None:
    gallery = api.gallery()
    refused(api.get(f"/v1/galleries/{NOWHERE}/subjects"), 404, "gallery_not_found")
    answer = api.post(f"/v1/galleries/{NOWHERE}/subjects", json={"name": "x"})
    refused(answer, 404, "gallery_not_found")
    refused(api.get(f"/v1/galleries/{gallery}/subjects/{NOWHERE}"), 404, "subject_not_found")
    path = f"/v1/galleries/{gallery}/subjects/{NOWHERE}/photos"
    refused(api.send(path, [("a.jpg", image())]), 404, "subject_not_found")
    refused(api.get("/v1/galleries/people"), 404, "route_not_found")


def test_a_subject_belongs_to_its_gallery_alone(api: Api) -> None:
    subject = api.subject(api.gallery("one"), "anna")
    other = api.gallery("two")
    refused(api.get(f"/v1/galleries/{other}/subjects/{subject}"), 404, "subject_not_found")


def test_a_strangers_things_are_not_there(api: Api, stranger: Kit) -> None:
    gallery = stranger.gallery("theirs")
    subject = stranger.subject(gallery, "anna")
    assert api.get("/v1/galleries").json["galleries"] == []
    refused(api.get(f"/v1/galleries/{gallery}"), 404, "gallery_not_found")
    refused(api.delete(f"/v1/galleries/{gallery}"), 404, "gallery_not_found")
    path = f"/v1/galleries/{gallery}/subjects"
    refused(api.get(path), 404, "gallery_not_found")
    refused(api.post(path, json={"name": "x"}), 404, "gallery_not_found")
    for call in (api.get, api.delete):
        refused(call(f"{path}/{subject}"), 404, "subject_not_found")
    refused(api.patch(f"{path}/{subject}", json={"name": "x"}), 404, "subject_not_found")
    answer = api.send(f"{path}/{subject}/photos", [("a.jpg", image())])
    refused(answer, 404, "gallery_not_found")
    assert stranger.subject(gallery, "still there")


def test_photos_are_enrolled_for_a_subject(
    api: Api, worker: BackgroundWorker, sample: Sample
) -> None:
    gallery = api.gallery()
    subject = api.enrol(gallery, "obama", photo(sample.people_dir / "obama" / "obama.jpg"))
    assert api.get(f"/v1/galleries/{gallery}/subjects/{subject}").json["templates"] == 1
    assert api.get(f"/v1/galleries/{gallery}").json["templates"] == 1


def test_enrolment_refuses_no_face_and_several_faces(
    api: Api, worker: BackgroundWorker, sample: Sample
) -> None:
    gallery = api.gallery()
    subject = api.subject(gallery, "obama")
    path = f"/v1/galleries/{gallery}/subjects/{subject}/photos"
    both = photo(sample.photos_dir / "obama_and_biden.jpg")
    results = api.send(path, [("nobody.jpg", image()), both], wait=60).json["results"]
    assert [one["status"] for one in results] == ["no_face", "failed"]
    assert results[1]["error"]["code"] == "several_faces"
    largest = api.send(path, [both], wait=60, multiple_faces="largest").json["results"][0]
    assert largest["status"] == "done"
    assert sum(face["enrolled"] for face in largest["faces"]) == 1
    assert api.get(f"/v1/galleries/{gallery}/subjects/{subject}").json["templates"] == 1
