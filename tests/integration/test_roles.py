"""Under which roles processes work: the API as one tenant at a time, workers for all of them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from api_kit import Api, accepted, image
from ledger_kit import Kit
from sqlalchemy import select, text
from werkzeug.test import TestResponse
from worker_kit import StartWorker, environ, wait_until

from cli.stack.parts import python
from db.models import Gallery
from db.roles import Role
from db.session import Database, transaction
from db.settings import Settings
from db.tenancy import acting_tenant
from web.services import services

SPY = """
    CREATE TABLE spy (who text, did text);
    GRANT INSERT ON spy TO PUBLIC;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO spy
        VALUES (current_user, concat_ws(' ', tg_op, tg_table_name, to_jsonb(NEW) ->> 'state'));
        RETURN NULL;
    END $$;
    CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON item
    FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON upload
    FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER spy AFTER INSERT ON extraction
    FOR EACH ROW EXECUTE FUNCTION note();
"""
GIVEN_UP = """
    INSERT INTO upload (id, tenant_id, created_at)
    SELECT gen_random_uuid(), id, now() - interval '1 day' FROM tenant LIMIT 1
"""


@pytest.fixture
def spied(owners: Database) -> Database:
    """Notes under which role rows are written."""
    with owners.begin() as connection:
        connection.exec_driver_sql(SPY)
    return owners


def noted(spied: Database) -> set[tuple[str, str]]:
    with spied.connect() as connection:
        return {(row.who, row.did) for row in connection.execute(text("SELECT * FROM spy"))}


@contextmanager
def started(settings: Settings, *modules: str) -> Iterator[None]:
    """Processes that run as long as the context lasts."""
    processes = [
        subprocess.Popen(python(one), env=environ(settings), stdout=subprocess.DEVNULL)
        for one in modules
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def test_requests_write_as_their_tenant_and_all_other_processes_as_the_system(
    api: Api, settings: Settings, spied: Database, start_worker: StartWorker
) -> None:
    job = accepted(api.submit(("a.jpg", image()), kind="detect"))
    with spied.begin() as connection:
        connection.exec_driver_sql(GIVEN_UP)
        connection.exec_driver_sql("DELETE FROM spy WHERE who NOT LIKE 'facebatch\\_%%'")
    start_worker(settings)
    with started(settings, "workers.dispatcher", "workers.reconciler"):
        wait_until(lambda: api.get(f"/v1/jobs/{job}").json["state"] == "succeeded")
        wait_until(lambda: (Role.SYSTEM.value, "DELETE upload") in noted(spied))
    assert noted(spied) == {
        (Role.TENANT.value, "INSERT upload"),
        (Role.TENANT.value, "INSERT item queued"),
        # The dispatcher's mark, the worker's claim and its record, and the reconciler's sweep.
        *((Role.SYSTEM.value, f"UPDATE item {to}") for to in ("queued", "running", "no_face")),
        (Role.SYSTEM.value, "INSERT extraction"),
        (Role.SYSTEM.value, "DELETE upload"),
    }


@pytest.fixture
def forgetful(api: Api) -> Api:
    """The API with two routes that forget whose galleries they were asked for.

    One has callers as it should, the other is asked by nobody in particular.
    """

    def names() -> dict[str, object]:
        with transaction(services().database) as session:
            found = session.scalars(select(Gallery.name).order_by(Gallery.name)).all()
            return {"names": found, "role": session.scalar(text("SELECT current_user"))}

    app = api.client.application
    app.view_functions["galleries.list_galleries"] = names
    app.add_url_rule("/forgetful", "forgetful", names)
    return api


def test_a_route_that_forgets_its_tenant_shows_nothing_of_others(
    forgetful: Api, local: Kit, stranger: Kit
) -> None:
    for kit in (local, stranger):
        kit.gallery(f"of {kit.tenant_id}")
    mine = {"names": [f"of {local.tenant_id}"], "role": Role.TENANT.value}
    assert forgetful.get("/v1/galleries").json == mine
    # One that is no route of tenants at all, even on a connection that has just served one.
    assert forgetful.get("/forgetful").json == mine | {"names": []}
    assert forgetful.get("/v1/galleries").json == mine


def test_a_request_leaves_its_tenant_to_nobody(forgetful: Api, local: Kit) -> None:
    local.gallery()
    for answer in (
        forgetful.get("/v1/galleries"),
        forgetful.get("/v1/galleries/none"),
        forgetful.post("/v1/galleries", data="{", content_type="application/json"),
    ):
        assert isinstance(answer, TestResponse)
        assert acting_tenant() is None
        assert forgetful.get("/forgetful").json["names"] == []


def test_a_route_without_a_tenant_cannot_ask_for_its_id(api: Api) -> None:
    with api.client.application.test_request_context("/health"):
        api.client.application.preprocess_request()
        with pytest.raises(RuntimeError, match="no tenant"):
            services().tenant_id  # noqa: B018 - it is what raises.


def test_a_streamed_export_is_read_for_its_tenant_after_the_request(
    api: Api, local: Kit, stranger: Kit
) -> None:
    # Lines are read page by page, while the answer is under way.
    job = accepted(api.submit(*((f"{n}.jpg", image()) for n in range(3)), kind="detect"))
    answer = api.get(f"/v1/jobs/{job}/export?format=jsonl", buffered=False)
    assert acting_tenant() is None
    assert len(answer.get_data().splitlines()) == 3
    assert acting_tenant() is None
