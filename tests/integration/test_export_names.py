"""Sidecars of a job whose photos have ids, or none, or both."""

import io
import urllib.request
import uuid
import zipfile

from api_kit import Api, BackgroundWorker, accepted
from exports_kit import asked_for, export
from source_kit import zipped
from stack_kit import until

from cli.sample import Sample


def test_a_photo_and_an_entry_of_a_zip_with_one_name_have_a_sidecar_each(
    api: Api, worker: BackgroundWorker, sample: Sample
) -> None:
    obama, biden = (
        (sample.people_dir / name / f"{name}.jpg").read_bytes() for name in ("obama", "biden")
    )
    files = {
        "photos": (io.BytesIO(obama), "a.jpg"),
        "archive": (io.BytesIO(zipped({"a.jpg": biden, "b.jpg": obama})), "z.zip"),
    }
    job = accepted(api.post("/v1/jobs", data={"kind": "detect", **files}))
    ended = api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"}).json
    assert (ended["state"], ended["counts"]["done"]) == ("succeeded", 3)
    export_id = asked_for(api, uuid.UUID(job), format="xmp")
    until(lambda: export(api, uuid.UUID(job), export_id)["state"] == "done")
    with urllib.request.urlopen(export(api, uuid.UUID(job), export_id)["url"]) as answer:
        names = zipfile.ZipFile(io.BytesIO(answer.read())).namelist()
    assert len(names) == len(set(names)) == 3
    assert {"a.jpg.xmp", "b.jpg.xmp"} < set(names)
