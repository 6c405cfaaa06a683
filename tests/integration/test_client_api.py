"""The client against the API: every route has a method, every answer its type, the page works."""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api_kit import Api, BackgroundWorker, image, key_of
from command_kit import listening
from flask import Flask, Response, request, request_finished
from hooks_kit import Hooks
from ledger_kit import Kit
from receiver_kit import receiving

from cli.sample import Sample
from db.settings import Settings
from db.tenants import LOCAL_TENANT
from facebatch.client import Client, FileToUpload, JobEvent, Photo, WebhookEvent, verify_webhook
from facebatch.client.fields import JobFields, SourceFields, ThresholdFields
from facebatch.client.models import (
    base,
    faces,
    files,
    jobs,
    keys,
    people,
    results,
    usage,
    webhooks,
)
from facebatch.errors import NotFoundError, PreconditionFailedError
from web.app import create_app

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
API, SAMPLE = "http://127.0.0.1:8765", "~/.local/share/facebatch/sample/sample-1"
LEFT_OUT = {
    "GET /": "a list of the classic endpoints, for people",
    "GET /v1/live": "a WebSocket, which is for browsers",
    "POST /verify": "what POST /v1/verifications does, in the words of older clients",
}
"""Routes without a method, and why."""
TYPES: dict[str, type[base.Answer]] = {
    "AddedOut": jobs.Added,
    "AttemptOut": webhooks.Attempt,
    "BestPhotoOut": results.BestPhoto,
    "CallbackSecretOut": webhooks.CallbackSecret,
    "CandidateOut": results.Candidate,
    "CountsOut": jobs.Counts,
    "DeliveriesOut": webhooks.Deliveries,
    "DeliveryOut": webhooks.Delivery,
    "EngineOut": base.Engine,
    "ExportOut": files.Export,
    "ExportsOut": files.Exports,
    "FaceOut": results.Face,
    "FoundFaceOut": faces.FoundFace,
    "FoundPhotoOut": faces.FoundPhoto,
    "GalleriesOut": people.Galleries,
    "GalleryOut": people.Gallery,
    "HealthOut": faces.Health,
    "ItemErrorOut": base.Error,
    "JobOut": jobs.Job,
    "JobsOut": jobs.Jobs,
    "KeyOut": keys.Key,
    "KeysOut": keys.Keys,
    "NewCallbackSecretOut": webhooks.NewCallbackSecret,
    "NewKeyOut": keys.NewKey,
    "QualityOut": results.Quality,
    "RecognizedOut": faces.Recognized,
    "RegisteredOut": faces.Registered,
    "ReplayedOut": webhooks.Replayed,
    "ResultOut": results.Result,
    "ResultsOut": results.Results,
    "SearchOut": faces.Search,
    "SeenFaceOut": results.SeenFace,
    "SourceErrorOut": base.Error,
    "SourceOut": files.Source,
    "SourcesOut": files.Sources,
    "StatsOut": faces.Stats,
    "SubjectOut": people.Subject,
    "SubjectResultOut": results.SubjectResult,
    "SubjectResultsOut": results.SubjectResults,
    "SubjectsOut": people.Subjects,
    "TestedOut": webhooks.Tested,
    "ThresholdOut": jobs.Threshold,
    "UploadFileOut": files.UploadForm,
    "UploadOut": files.Upload,
    "UserOut": faces.User,
    "UsageOut": usage.Usage,
    "UsedOut": usage.Used,
    "VerificationOut": faces.Verification,
    "WebhookOut": webhooks.Webhook,
    "WebhookWithSecretOut": webhooks.NewWebhook,
    "WebhooksOut": webhooks.Webhooks,
    "WhoOut": base.Who,
}
NO_TYPES = {
    "IndexOut": "of a route that is left out",
    "UnhealthyOut": "raised as an error",
    "PartsOut": "part of that",
    "ProblemOut": "raised as an error",
    "FieldErrorOut": "part of that",
}
"""Answers without a type, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server that listens, somebody who works for it, and a client with a key."""

    url: str
    client: Client
    hooks: Hooks
    sample: Sample
    done: set[str]
    """The routes that have answered with a success."""

    @property
    def portrait(self) -> Path:
        return self.sample.people_dir / "obama" / "obama.jpg"


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings.model_copy(update={"webhook_networks": "127.0.0.0/8"}))


@pytest.fixture
def place(
    app: Flask, settings: Settings, local: Kit, worker: BackgroundWorker, sample: Sample
) -> Iterator[Place]:
    answered: set[str] = set()

    def note(_sender: object, response: Response) -> None:
        if response.status_code < 400 and request.url_rule is not None:
            path = re.sub(r"<(?:\w+:)?(.*?)>", r"{\1}", request.url_rule.rule)
            answered.add(f"{request.method} {path}")

    allowed = settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})
    key = key_of(settings, LOCAL_TENANT).text
    with (
        listening(Api(app.test_client())) as url,
        Client(url, api_key=key) as client,
        request_finished.connected_to(note, app),
    ):
        hooks = Hooks(kit=local, settings=allowed)
        yield Place(url=url, client=client, hooks=hooks, sample=sample, done=answered)


def test_every_route_has_a_method_that_works(app: Flask, place: Place) -> None:
    assert place.client.health().status == "healthy"
    assert place.client.usage().open_jobs.allowed is None
    gallery, subject = people_come_and_go(place)
    job, face = jobs_run(place, gallery.id, subject.id)
    faces_are_looked_at(place, job, face, subject.id)
    ways_in_and_out(place, job)
    webhooks_are_kept(place)
    keys_are_kept(place)
    place.client.jobs.delete(job)
    place.client.galleries.delete(gallery.id)
    described = {
        f"{method.upper()} {path}"
        for path, methods in app.api_doc["paths"].items()  # type: ignore[attr-defined]
        for method in methods
    }
    assert described - place.done == LEFT_OUT.keys()


def people_come_and_go(place: Place) -> tuple[people.Gallery, people.Subject]:
    client = place.client
    gallery = client.galleries.create("people", engine="dlib")
    assert client.galleries.ensure("people").id == gallery.id
    assert [one.id for one in client.galleries.list()] == [gallery.id]
    assert client.galleries.get(gallery.id).etag
    subject = client.subjects.create(gallery.id, "anna")
    assert client.subjects.ensure(gallery.id, "anna").id == subject.id
    renamed = client.subjects.rename(gallery.id, subject.id, "ann", if_match=subject.etag)
    assert client.subjects.get(gallery.id, subject.id) == renamed
    client.subjects.delete(gallery.id, subject.id, if_match=renamed.etag)
    assert list(client.subjects.list(gallery.id)) == []
    subject = client.subjects.create(gallery.id, "obama")
    enrolment = client.subjects.enrol(gallery.id, subject.id, [place.portrait])
    assert client.jobs.wait(enrolment.id, timeout_s=60).state == "succeeded"
    assert client.subjects.get(gallery.id, subject.id).templates == 1
    return gallery, subject


def jobs_run(place: Place, gallery: object, subject: object) -> tuple[str, int]:
    """An ended job, and a face of it that is the subject's."""
    client = place.client
    photo = place.sample.photos_dir / "obama2.jpg"
    with photo.open("rb") as file:
        shown = [photo.read_bytes(), file, Photo(name="nobody.jpg", source=image())]
        job = client.jobs.create("identify", shown, galleries=[str(gallery)], top_k=2)
    assert client.jobs.pause(job.id).paused
    assert not client.jobs.resume(job.id).paused
    ended = client.jobs.wait(job.id, timeout_s=60)
    assert (ended.state, ended.counts.done, ended.counts.no_face) == ("succeeded", 2, 1)
    found = list(client.jobs.results(job.id))
    assert [one.name for one in found] == ["photo-1", "obama2.jpg", "nobody.jpg"]
    (face,) = found[0].faces
    assert face.subject is not None
    assert (face.subject.id, face.decision) == (subject, "match")
    (summary,) = client.jobs.subjects(job.id)
    assert (summary.subject.id, summary.photos) == (subject, 2)
    assert client.jobs.retry(job.id).round == 1
    again = client.jobs.rematch(job.id, gallery=str(gallery))
    assert client.jobs.wait(again.id, timeout_s=60).counts.done == 2
    assert client.jobs.cancel(client.jobs.open("detect").id).state == "cancelled"
    assert job.id in {one.id for one in client.jobs.list()}
    return str(job.id), face.id


def faces_are_looked_at(place: Place, job: str, face: int, subject: object) -> None:
    client = place.client
    assert client.faces.verify(place.portrait, subject=str(subject), target_fmr=1e-3).match
    assert client.faces.verify(place.portrait, reference=place.portrait.read_bytes()).match
    assert client.faces.verify_known((job, face), reference=(job, face)).distance == 0
    assert len(client.faces.detect(place.portrait, min_face_px=10).faces) == 1
    shown = {one.name for one in client.faces.search(job, photo=place.portrait, threshold=0.6)}
    assert shown == {one.name for one in client.faces.search(job, face=face, threshold=0.6)}
    assert client.faces.crop(job, face, margin=0, size_px=32)[:3] == b"\xff\xd8\xff"
    assert client.faces.register("barack", place.portrait).name == "barack"
    recognized = client.faces.recognize(place.portrait, threshold=0.5)
    assert recognized.matched_user is not None
    assert client.faces.stats().total_users == 1


def packed(name: str) -> io.BytesIO:
    """A zip of one photo."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, image(65))
    return file


def ways_in_and_out(place: Place, job: str) -> None:
    client = place.client
    upload = client.uploads.create("photos", [FileToUpload(size_bytes=len(image()))])
    client.uploads.send(upload.files[0], image())
    zipped = client.uploads.send_one("archive", packed("d.jpg"))
    job_open = client.jobs.open("detect", priority="low")
    assert client.jobs.add_known(job_open.id, [("a", "0" * 64)]).missing == ("a",)
    assert client.jobs.add_uploaded(job_open.id, upload.id, [("b", 0)]).accepted == 1
    assert client.jobs.add_photos(job_open.id, [Photo(name="c", source=image(66))]).accepted == 1
    source = client.jobs.add_source(job_open.id, {"kind": "archive", "upload": zipped.id})
    assert [one.id for one in client.jobs.sources(job_open.id)] == [source.id]
    client.jobs.add_archive(job_open.id, packed("e.jpg"))
    sealed = client.jobs.seal(job_open.id)
    assert client.jobs.wait(sealed.id, timeout_s=60).counts.no_face == 4
    with client.exports.stream(job, "jsonl") as pieces:
        assert b"".join(pieces).count(b"\n") == 3
    export = client.exports.create(job, "csv")
    assert client.exports.get(job, export.id).format == "csv"
    assert [one.id for one in client.exports.list(job)] == [export.id]
    client.exports.delete(job, export.id)


def webhooks_are_kept(place: Place) -> None:
    client = place.client
    with pytest.raises(NotFoundError):
        client.webhooks.callback_secret()
    client.webhooks.make_callback_secret(overlap_s=0)
    assert client.webhooks.callback_secret().previous_secret_until is None
    with receiving() as receiver:
        hook = client.webhooks.create(receiver.url, ["job.completed"])
        event = client.webhooks.test(hook.id).event
        client.jobs.wait(client.jobs.create("detect", [image()]).id, timeout_s=60)
        place.hooks.send()
        calls = receiver.calls
    told = [verify_webhook(one.body, one.headers, hook.secret) for one in calls]
    assert {type(one) for one in told} == {WebhookEvent, JobEvent}
    assert event in {one.id for one in told}
    (delivery,) = client.webhooks.deliveries(webhook=hook.id, event=event, state="delivered")
    assert client.webhooks.delivery(delivery.id).attempts[0].status == 200
    assert client.webhooks.replay_delivery(delivery.id).state == "waiting"
    assert client.webhooks.replay(hook.id, since=hook.created_at, delivered_too=True).deliveries
    rotated = client.webhooks.rotate(hook.id, overlap_s=60, if_match=hook.etag)
    assert rotated.previous_secret_until is not None
    off = client.webhooks.change(hook.id, enabled=False, if_match=rotated.etag)
    assert not off.enabled
    with pytest.raises(PreconditionFailedError):
        client.webhooks.delete(hook.id, if_match=hook.etag)
    assert client.webhooks.get(hook.id).disabled_reason == "owner"
    client.webhooks.delete(hook.id, if_match=off.etag)
    assert list(client.webhooks.list()) == []


def keys_are_kept(place: Place) -> None:
    client = place.client
    made = client.keys.create("reader", ["read"], expires_in_days=1)
    with Client(place.url, api_key=made.key) as reader:
        assert list(reader.galleries.list())
    new = client.keys.rotate(made.id, overlap_s=0)
    assert client.keys.get(made.id).replaced_by == new.id
    client.keys.revoke(new.id)
    assert {one.state for one in client.keys.list()} == {"active", "expired", "revoked"}


def _sorted_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def plain(schema: Any, root: dict[str, Any]) -> Any:
    """A schema without its words, and with what it refers to."""
    if isinstance(schema, list):
        return sorted((plain(one, root) for one in schema), key=_sorted_json)
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return plain(found, root)
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
    if "prefixItems" in schema:
        schema = {**schema, "items": schema["prefixItems"][0]}
    kept = {"type", "format", "enum", "anyOf", "items", "minItems", "maxItems", "required"}
    told = {name: plain(value, root) for name, value in schema.items() if name in kept}
    if told.get("format") == "password":
        del told["format"]
    members = schema.get("properties", {})
    return told | {"members": {name: plain(one, root) for name, one in members.items()}}


def test_every_answer_has_a_type_that_fits_the_description(app: Flask) -> None:
    spec = app.api_doc  # type: ignore[attr-defined]
    described = {name for name in spec["components"]["schemas"] if name.endswith("Out")}
    assert TYPES.keys() | NO_TYPES.keys() == described
    for name, model in TYPES.items():
        ours = model.model_json_schema()
        theirs = spec["components"]["schemas"][name]
        assert plain(ours, ours) == plain(theirs, spec), name


def test_all_that_a_job_can_be_asked_for_has_a_name(app: Flask) -> None:
    schemas = app.api_doc["components"]["schemas"]  # type: ignore[attr-defined]
    job = schemas["SourcedJobIn"]["properties"].keys() - {"kind", "sources"}
    assert JobFields.__annotations__.keys() == job
    search = schemas["SearchIn"]["properties"].keys() - {"face", "subject"}
    assert ThresholdFields.__annotations__.keys() == search
    ways = ("PrefixIn", "ArchiveIn", "ManifestIn", "OtherJobIn")
    sources = {member for way in ways for member in schemas[way]["properties"]}
    assert SourceFields.__annotations__.keys() == sources


def printed(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_page_of_the_client_works_when_pasted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE.read_text(encoding="utf-8").replace(SAMPLE, str(place.sample.photos_dir.parent))
    blocks = re.findall(r"```python\n(.*?)```", text.replace(API, place.url), re.DOTALL)
    submit, known, receive = blocks
    first, *lines = printed(submit)
    assert re.fullmatch(r"succeeded (\d+) of \1 within 0\.\d+", first)
    assert sum(line.endswith("Barack Obama") for line in lines) >= 3
    assert printed(known) == ["precondition_failed"]
    names: dict[str, Any] = {}
    exec(receive, names)
    with receiving() as receiver:
        made = place.client.webhooks.create(receiver.url, ["job.completed"])
        place.hooks.send()  # What there is to tell of the page's own jobs.
        calls = receiver.calls
    secret = made.secret.get_secret_value()
    assert {names["receive"](one.body, one.headers, secret) for one in calls} == {200}
    assert " succeeded 5" in capsys.readouterr().out
    assert names["receive"](calls[0].body + b" ", calls[0].headers, secret) == 401
