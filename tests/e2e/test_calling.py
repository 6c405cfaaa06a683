"""Who may call a real stack: its own machine, and whoever has one of its keys."""

import httpx
import pytest
from place import Place


@pytest.fixture
def key(served: Place) -> str:
    made = served.run("keys", "create", "ci", "--scope", "read")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_a_stack_of_its_own_lets_its_machine_in_and_knows_its_keys(served: Place, key: str) -> None:
    view = served.view()
    assert view

    def status(method: str = "GET", path: str = "/v1/jobs", **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(
            method, view.api_url + path, headers=named, trust_env=False, timeout=60
        ).status_code

    good, handed_on = f"Bearer {key}", {"X_Forwarded_For": "203.0.113.9"}
    assert status() == status(Authorization=good) == 200
    assert status("DELETE", "/v1/galleries/00000000-0000-7000-8000-000000000000") == 404
    assert status("POST", "/v1/galleries", Authorization=good) == 403
    assert status(Authorization=good[:-1]) == status(Authorization=good[:-1] + "!") == 401
    assert status(**handed_on) == 401
    assert status(Authorization=good, **handed_on) == 200
    assert served.run("jobs", FACEBATCH_API_KEY=key).returncode == 0
    assert served.run("jobs", FACEBATCH_API_KEY=key[:-1]).returncode == 1


def test_tenants_of_a_stack_are_told_apart(served: Place) -> None:
    assert served.run("tenants", "create", "acme").returncode == 0
    made = served.run("keys", "create", "a", "--scope", "manage", "--tenant", "acme")
    view = served.view()
    assert view
    with httpx.Client(base_url=view.api_url, trust_env=False, timeout=60) as anybody:
        theirs = {"Authorization": f"Bearer {made.stdout.strip()}"}
        answer = anybody.post("/v1/galleries", json={"name": "theirs"}, headers=theirs)
        gallery = answer.raise_for_status().json()["id"]
        assert anybody.get(f"/v1/galleries/{gallery}").status_code == 404
