"""`Prefer: wait=N`: answers that wait for their job, and what cuts their wait short."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from api_kit import Api, BackgroundWorker, accepted, image, made

from db.settings import Settings
from web.patience import MOST_WAITING


def test_patience_that_runs_out_gets_the_job(api: Api) -> None:
    answer = api.submit(("a.jpg", image()), wait=1, kind="detect")
    accepted(answer)
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "prefer", ["wait=soon", "wait=-1", "respond-async", "wait", "wait=\u0661", "waiting=9", ""]
)
def test_a_preference_that_makes_no_sense_is_none(api: Api, prefer: str) -> None:
    job = accepted(api.submit(("a.jpg", image()), kind="detect"))
    answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": prefer})
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "granted"),
    [
        ("wait=9", 9),
        ("Wait=9", 9),
        ("WAIT = 9", 9),
        ("respond-async, wait=9", 9),
        ("wait=9; foo=bar", 9),
        ('wait="9"', 9),
        ("wait=9, wait=1", 9),
        ("wait=61", 60),
        ("wait=" + "9" * 5000, 60),
    ],
)
def test_the_wait_that_is_asked_for(
    api: Api, worker: BackgroundWorker, prefer: str, granted: int
) -> None:
    job = api.submit(("a.jpg", image()), wait=60, kind="detect").json["job"]["id"]
    answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": prefer})
    assert answer.headers["Preference-Applied"] == f"wait={granted}"


def test_only_so_many_wait_and_the_others_are_answered_at_once(api: Api) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))  # Open: it does not end.

    def wait(wait_s: int) -> str | None:
        client = api.client.application.test_client()
        answer = client.get(f"/v1/jobs/{job}", headers={"Prefer": f"wait={wait_s}"})
        assert answer.status_code == 200
        return answer.headers.get("Preference-Applied")

    with ThreadPoolExecutor(MOST_WAITING) as pool:
        waiting = [pool.submit(wait, 12) for _ in range(MOST_WAITING)]
        time.sleep(2)
        assert wait(60) is None
        answer = api.submit(("a.jpg", image()), wait=60, kind="detect")
        assert not any(one.done() for one in waiting)
        accepted(answer)
        assert "Preference-Applied" not in answer.headers
        assert [one.result() for one in waiting] == ["wait=12"] * MOST_WAITING
    assert wait(1) == "wait=1"


def test_an_answer_of_results_says_where_they_and_their_job_are(
    api: Api, worker: BackgroundWorker
) -> None:
    answer = api.submit(("a.jpg", image()), wait=60, kind="detect")
    job = answer.json["job"]["id"]
    assert answer.headers["Location"] == f"/v1/jobs/{job}"
    again = api.get(answer.headers["Content-Location"])
    assert again.json["results"] == answer.json["results"]


class Outage:
    """Takes a database away as soon as it has a job, and gives it back."""

    def __init__(self, stores: Settings, database_url: str) -> None:
        self._url = stores.database or ""
        self._database_url = database_url
        self._name = database_url.rsplit("/", 1)[1]
        self.began = threading.Event()

    def begin_with_the_first_job(self) -> None:
        connection = psycopg2.connect(self._database_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            found = 0
            while not found:
                cursor.execute("SELECT count(*) FROM job")
                ((found,),) = cursor.fetchall()
        connection.close()
        self._execute(f"ALTER DATABASE {self._name} WITH ALLOW_CONNECTIONS false")
        self._execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'"
        )
        self.began.set()

    def end(self) -> None:
        self._execute(f"ALTER DATABASE {self._name} WITH ALLOW_CONNECTIONS true")

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(self._url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()


@pytest.fixture
def outage(stores: Settings, database_url: str) -> Iterator[Outage]:
    outage = Outage(stores, database_url)
    thread = threading.Thread(target=outage.begin_with_the_first_job)
    thread.start()
    yield outage
    thread.join()
    outage.end()


def test_a_database_that_goes_away_during_the_wait_makes_no_error_of_what_was_accepted(
    api: Api, outage: Outage
) -> None:
    answer = api.submit(("a.jpg", image()), wait=3, kind="detect")
    assert outage.began.is_set()
    job = accepted(answer)
    assert answer.json["counts"]["total"] == 1
    outage.end()
    assert api.counts(job)["queued"] == 1


def test_a_database_that_comes_back_during_the_wait_ends_it_with_the_result(
    api: Api, outage: Outage, settings: Settings
) -> None:
    def work() -> None:
        outage.began.wait(60)
        outage.end()
        with BackgroundWorker(settings):
            done.wait(60)

    done = threading.Event()
    working = threading.Thread(target=work)
    working.start()
    answer = api.submit(("a.jpg", image()), wait=60, kind="detect")
    done.set()
    working.join()
    assert answer.json["results"][0]["status"] == "no_face"
