"""Lists take no cursor but their own."""

import pytest
from api_kit import NOWHERE, Api, accepted, image, made, refused
from ledger_kit import Kit
from tenant_kit import ask_as

BAD = ["1", "next", NOWHERE, "", "a" * 5000]


@pytest.fixture
def lists(api: Api) -> dict[str, tuple[str, str]]:
    """Paths of lists that take a cursor, and where each has its entries: more than one."""
    gallery = api.gallery("people")
    api.gallery("others")
    for name in ("anna", "ben"):
        api.subject(gallery, name)
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    for n in range(2):
        source = {"kind": "prefix", "prefix": f"sources/local/{n}/"}
        assert api.post(f"/v1/jobs/{job}/sources", json=source).status_code == 202
    sent = accepted(api.submit(*[(f"{n}.jpg", image(64 + n)) for n in range(2)], kind="detect"))
    for _ in range(2):
        webhook = {"url": "https://example.com/hook", "events": ["job.completed"]}
        made(api.post("/v1/webhooks", json=webhook))
        made(api.post("/v1/keys", json={"name": "ci", "scopes": ["read"]}))
    return {
        "/v1/deliveries": ("/v1/deliveries", "deliveries"),
        "/v1/keys": ("/v1/keys", "keys"),
        "/v1/webhooks": ("/v1/webhooks", "webhooks"),
        "/v1/galleries": ("/v1/galleries", "galleries"),
        "/v1/galleries/<uuid:gallery_id>/subjects": (
            f"/v1/galleries/{gallery}/subjects",
            "subjects",
        ),
        "/v1/jobs": ("/v1/jobs", "jobs"),
        "/v1/jobs/<uuid:job_id>/results": (f"/v1/jobs/{sent}/results", "results"),
        "/v1/jobs/<uuid:job_id>/sources": (f"/v1/jobs/{job}/sources", "sources"),
        "/v1/jobs/<uuid:job_id>/subjects": (f"/v1/jobs/{sent}/subjects", "subjects"),
    }


def test_every_list_takes_the_cursors_of_its_own_alone(
    api: Api, lists: dict[str, tuple[str, str]]
) -> None:
    spec = api.get("/openapi.json").json["paths"]
    taking = {
        path
        for path, methods in spec.items()
        for one in methods.get("get", {}).get("parameters", [])
        if one.get("name") == "cursor"
    }
    assert {path.replace("<uuid:", "{").replace(">", "}") for path in lists} == taking
    handed_out = {}
    for path, field in lists.values():
        page = api.get(f"{path}?limit=1").json
        if page["next_cursor"] is not None:
            handed_out[path] = page["next_cursor"]
            rest = api.get(path, query_string={"cursor": page["next_cursor"]}).json
            assert rest[field]
            assert rest[field][0] != page[field][0]
    assert len(handed_out) == 7  # Nobody is in the photos of the job, and nothing is delivered.
    for path, _ in lists.values():
        for cursor in [*BAD, *(one for other, one in handed_out.items() if other != path)]:
            answer = api.get(path, query_string={"cursor": cursor})
            refused(answer, 400, "cursor_invalid")


def test_a_cursor_is_one_tenants(api: Api, local: Kit, stranger: Kit) -> None:
    for name in ("a", "b"):
        api.gallery(name)
    ours = api.get("/v1/galleries?limit=1").json["next_cursor"]
    ask_as(api, stranger.tenant_id)
    refused(api.get("/v1/galleries", query_string={"cursor": ours}), 400, "cursor_invalid")


def test_a_page_that_came_with_a_wait_leads_on(
    api: Api, worker: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.answers.FIRST_PAGE", 1)
    photos = [(f"{n}.jpg", image(64 + n)) for n in range(2)]
    page = api.submit(*photos, wait=60, kind="detect").json
    path = f"/v1/jobs/{page['job']['id']}/results"
    rest = api.get(path, query_string={"cursor": page["next_cursor"]}).json
    assert [one["name"] for one in rest["results"]] == ["1.jpg"]
