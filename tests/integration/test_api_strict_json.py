"""JSON is read strictly, on every route that takes it: no text for a number, no number for true."""

from typing import Any

import pytest
from api_kit import NOWHERE, Api, accepted, made, refused
from exports_kit import asked_for
from ledger_kit import Kit
from results_kit import identified

UPLOAD, REMATCH = "/v1/uploads", f"/v1/jobs/{NOWHERE}/rematch"
EXPORTS = f"/v1/jobs/{NOWHERE}/exports"
REMATCHED = {"gallery": NOWHERE}
SLOPPY: list[tuple[str, dict[str, Any], str]] = [
    (REMATCH, REMATCHED | {"top_k": "7"}, "top_k"),
    (REMATCH, REMATCHED | {"top_k": 7.0}, "top_k"),
    (REMATCH, REMATCHED | {"min_face_px": True}, "min_face_px"),
    (REMATCH, REMATCHED | {"threshold": "0.5"}, "threshold"),
    (REMATCH, {"galleries": f"{NOWHERE},{NOWHERE}"}, "galleries"),
    (UPLOAD, {"files": [{"size_bytes": True}]}, "files.0.size_bytes"),
    (UPLOAD, {"files": [{"size_bytes": "10"}]}, "files.0.size_bytes"),
    (EXPORTS, {"format": "xmp", "unknown_faces": "no"}, "unknown_faces"),
    (EXPORTS, {"format": "xmp", "unknown_faces": 0}, "unknown_faces"),
    ("/v1/jobs", {"kind": "detect", "min_face_px": True}, "min_face_px"),
    (f"/v1/jobs/{NOWHERE}/photos", {"photos": [{"client_id": 1, "sha256": 64 * "a"}]}, "client_id"),
    ("/v1/galleries", {"name": 7}, "name"),
    (f"/v1/galleries/{NOWHERE}/subjects", {"name": True}, "name"),
]


@pytest.mark.parametrize(("path", "body", "field"), SLOPPY)
def test_a_value_of_another_type_is_refused(
    api: Api, path: str, body: dict[str, Any], field: str
) -> None:
    answer = api.post(path, json=body)
    refused(answer, 422, "invalid_request")
    assert [field in one["field"] for one in answer.json["errors"]] == [True]


def test_bodies_of_the_right_types_are_taken(api: Api, local: Kit) -> None:
    job = identified(local, 1)
    galleries = [str(one) for one in local.view(job).gallery_ids]
    wanted = {"kind": "identify", "galleries": galleries, "top_k": 7, "threshold": 1}
    answer = api.post(f"/v1/jobs/{job}/rematch", json=wanted | {"priority": "low"})
    accepted(answer)
    assert (answer.json["top_k"], answer.json["priority"]) == (7, "low")
    asked_for(api, job, format="xmp", unknown_faces=False)
    assert made(api.post(UPLOAD, json={"kind": "archive", "files": [{"size_bytes": 10}]}))
