"""A job's threshold over HTTP: a distance, or an error rate at the gallery's size."""

import uuid
from dataclasses import replace

import pytest
from api_kit import NOWHERE, Api, image, made, refused
from ledger_kit import Kit, as_owner, item, photo_of
from sqlalchemy import insert, update

from db import galleries
from db.galleries import CLASSIC_GALLERY
from db.ids import new_id
from db.models import Model, Subject
from db.session import Database, transaction
from db.states import JobKind
from db.tenants import ensure_model
from pipeline.specs import DEFAULT_ENGINE, ENGINE_SPECS, EngineSpec
from pipeline.thresholds import WantedThreshold, decided, fpir_of

MANY = 3_000
SHOWN = ("a.jpg", image())
OWN = DEFAULT_ENGINE.threshold_distance
EYES = replace(DEFAULT_ENGINE, name="eyes", dimension=4, max_distance=1.0, curve=None)


def gallery_of(local: Kit, count: int, name: str = "people") -> str:
    """A gallery with so many subjects, none of whom has a template."""
    gallery_id = local.gallery(name)
    rows = [
        {"id": new_id(), "tenant_id": local.tenant_id, "gallery_id": gallery_id, "name": str(n)}
        for n in range(count)
    ]
    with transaction(local.database) as session:
        if rows:
            session.execute(insert(Subject), rows)
    return str(gallery_id)


def threshold(api: Api, **fields: object) -> dict[str, object]:
    """That of a new job, which a reader sees as its maker does."""
    opened = api.post("/v1/jobs", json={"kind": "identify", **fields})
    read = api.get(f"/v1/jobs/{made(opened)}").json["threshold"]
    assert read == opened.json["threshold"]
    return dict(read)


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch, database: Database) -> EngineSpec:
    """Another engine, which is prepared, and whose error rates nobody has measured."""
    monkeypatch.setattr("pipeline.specs.ENGINE_SPECS", {**ENGINE_SPECS, "eyes": EYES})
    with transaction(database) as session:
        ensure_model(session, EYES)
    return EYES


@pytest.mark.parametrize("count", [0, 1, 2, MANY])
def test_the_default_follows_from_the_number_of_subjects(api: Api, local: Kit, count: int) -> None:
    told = threshold(api, gallery=gallery_of(local, count))
    expected = decided(DEFAULT_ENGINE, WantedThreshold(), subjects=count)
    assert told["distance"] == expected.distance <= OWN
    assert (told["target_fmr"], told["target_fpir"]) == (None, 0.01)
    assert told["subjects"] == count
    assert told["fpir"] == pytest.approx(fpir_of(told["fmr"], count))


def test_one_subject_is_searched_at_the_engines_own_threshold(api: Api, local: Kit) -> None:
    told = threshold(api, gallery=gallery_of(local, 1))
    assert (told["distance"], told["advice"]) == (OWN, None)
    assert told["fpir"] < 0.01


def test_many_subjects_take_a_tighter_threshold_and_their_answer_says_what_it_costs(
    api: Api, local: Kit
) -> None:
    told = threshold(api, gallery=gallery_of(local, MANY))
    assert told["distance"] < OWN - 0.1
    assert told["fpir"] == pytest.approx(0.01)
    assert told["fnmr"] > 0.1
    assert f"{told['fnmr']:.0%} of true matches are expected to be missed" in told["advice"]


def test_the_target_is_the_clients_in_forms_too(api: Api, local: Kit) -> None:
    gallery = gallery_of(local, 100)
    as_json = threshold(api, gallery=gallery, target_fpir=0.1)
    assert (as_json["target_fpir"], as_json["fpir"]) == (0.1, pytest.approx(0.1))
    answer = api.submit(SHOWN, kind="identify", gallery=gallery, target_fpir="0.1")
    assert answer.json["threshold"] == as_json
    fmr = threshold(api, gallery=gallery, target_fmr=0.001)
    assert (fmr["target_fmr"], fmr["target_fpir"]) == (0.001, None)
    assert fmr["fmr"] == pytest.approx(0.001)
    assert fmr["fpir"] == pytest.approx(fpir_of(0.001, 100))


def test_a_distance_is_kept_and_its_rates_are_told(api: Api, local: Kit) -> None:
    told = threshold(api, gallery=gallery_of(local, 100), threshold=0.55)
    assert told["distance"] == 0.55
    assert (told["target_fmr"], told["target_fpir"]) == (None, None)
    assert told["fmr"] == pytest.approx(DEFAULT_ENGINE.curve.fmr_at(0.55))
    assert told["fmr_basis"] == "measured"
    assert told["fpir"] == pytest.approx(fpir_of(told["fmr"], 100))


def test_verification_has_a_threshold_of_its_own_and_no_fpir(api: Api, local: Kit) -> None:
    gallery = gallery_of(local, MANY)
    subject = api.get(f"/v1/galleries/{gallery}/subjects?limit=1").json["subjects"][0]["id"]
    told = threshold(api, kind="verify", gallery=gallery, subject=subject)
    assert (told["distance"], told["subjects"], told["fpir"]) == (OWN, None, None)
    assert told["fmr"] == pytest.approx(DEFAULT_ENGINE.curve.fmr_at(OWN))
    aimed = threshold(api, kind="verify", gallery=gallery, subject=subject, target_fmr=0.001)
    assert aimed["fmr"] == pytest.approx(0.001)
    fields = {"kind": "verify", "gallery": gallery, "subject": subject, "target_fpir": 0.01}
    answer = api.post("/v1/jobs", json=fields)
    assert "verify takes no target_fpir" in refused(answer, 422, "invalid_request")


def test_the_threshold_stays_what_it_was_when_the_job_was_made(api: Api, local: Kit) -> None:
    gallery = gallery_of(local, 1)
    job = made(api.post("/v1/jobs", json={"kind": "identify", "gallery": gallery}))
    before = api.get(f"/v1/jobs/{job}").json["threshold"]
    for n in range(30):
        api.subject(gallery, f"later {n}")
    assert api.get(f"/v1/jobs/{job}").json["threshold"] == before
    assert threshold(api, gallery=gallery)["distance"] < before["distance"]


@pytest.mark.parametrize(("others", "who"), [(0, "anna"), (MANY, None)])
def test_the_same_face_is_known_among_few_and_unknown_among_many(
    api: Api, local: Kit, others: int, who: str | None
) -> None:
    gallery_id = uuid.UUID(gallery_of(local, others))
    local.enrol(gallery_id, "anna", seed=1)
    job = local.job(item("p"), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    (claimed,) = local.claim_all()
    local.record(local.searched(claimed, photo_of(1, shift=0.5)))
    page = api.get(f"/v1/jobs/{job}/results").json
    (face,) = page["results"][0]["faces"]
    assert face["distance"] == pytest.approx(0.5, abs=1e-5)
    assert [one["subject"]["name"] for one in face["candidates"]] == ["anna"]
    assert (face["subject"]["name"] if face["subject"] else None) == who
    assert page["job"]["threshold"]["subjects"] == others + 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"threshold": 0.5, "target_fmr": 0.1}, "threshold and target_fmr exclude each other"),
        ({"threshold": 0.5, "target_fpir": 0.1}, "threshold and target_fpir exclude"),
        ({"target_fmr": 0.5, "target_fpir": 0.1}, "target_fmr and target_fpir exclude"),
        ({"target_fmr": 0}, "target_fmr"),
        ({"target_fmr": 1}, "target_fmr"),
        ({"target_fpir": -0.1}, "target_fpir"),
        ({"target_fpir": 1.5}, "target_fpir"),
        ({"target_fpir": "nan"}, "target_fpir"),
        ({"target_fpir": "some"}, "target_fpir"),
    ],
)
def test_targets_that_make_no_sense_are_named(
    api: Api, fields: dict[str, object], says: str
) -> None:
    fields = {"kind": "identify", "gallery": NOWHERE, **fields}
    assert says in refused(api.submit(SHOWN, **fields), 422, "invalid_request")
    assert says in refused(api.post("/v1/jobs", json=fields), 422, "invalid_request")


@pytest.mark.parametrize("kind", ["detect", "enrol"])
@pytest.mark.parametrize("target", ["target_fmr", "target_fpir"])
def test_who_compares_with_nobody_takes_no_target(api: Api, kind: str, target: str) -> None:
    gallery = {} if kind == "detect" else {"gallery": NOWHERE}
    answer = api.post("/v1/jobs", json={"kind": kind, target: 0.1, **gallery})
    assert target in refused(answer, 422, "invalid_request")


def test_of_another_version_no_rate_is_claimed(api: Api, local: Kit) -> None:
    gallery = gallery_of(local, 100)
    job = made(api.post("/v1/jobs", json={"kind": "identify", "gallery": gallery}))
    before = api.get(f"/v1/jobs/{job}").json["threshold"]
    with transaction(local.database) as session:
        as_owner(session)
        session.execute(
            update(Model).where(Model.engine == DEFAULT_ENGINE.name).values(version="0")
        )
    after = api.get(f"/v1/jobs/{job}").json["threshold"]
    unknown = {"fmr", "fmr_basis", "fpir", "fnmr", "advice", "better_engine"}
    assert after == before | dict.fromkeys(unknown)


def test_an_engine_that_was_not_measured_takes_distances_alone(
    api: Api, local: Kit, eyes: EngineSpec
) -> None:
    gallery = made(api.post("/v1/galleries", json={"name": "watched", "engine": "eyes"}))
    told = threshold(api, gallery=gallery)
    assert (told["distance"], told["target_fpir"], told["fmr"]) == (OWN, None, None)
    for target in ("target_fmr", "target_fpir"):
        answer = api.post("/v1/jobs", json={"kind": "identify", "gallery": gallery, target: 0.1})
        assert "give a distance" in refused(answer, 422, "target_unsupported")


def test_the_classic_endpoints_go_on_with_their_gallerys_engine(
    api: Api, local: Kit, eyes: EngineSpec
) -> None:
    with transaction(local.database) as session:
        galleries.ensure_gallery(session, local.tenant_id, name=CLASSIC_GALLERY, spec=eyes)
    assert api.get("/stats").json["embedding_dimension"] == 4
    answer = api.post("/recognize?threshold=1.5")  # Refused before a photo is even asked for.
    assert "for eyes" in refused(answer, 422, "threshold_out_of_range")
