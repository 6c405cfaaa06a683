"""Every route takes the query that its description tells of, and refuses any other."""

import re

from api_kit import NOWHERE, Api, refused


def test_every_route_refuses_a_parameter_that_it_does_not_know(api: Api) -> None:
    spec = api.get("/openapi.json").json
    tried = 0
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            at = re.sub(r"\{\w+\}", NOWHERE, path.replace("{face_id}", "1"))
            call = getattr(api.client, method)
            known = [
                one["name"] for one in operation.get("parameters", []) if one.get("in") == "query"
            ]
            answer = call(f"{at}?nonsense=1")
            assert "nonsense" in refused(answer, 422, "invalid_request")
            assert [one["field"] for one in answer.json["errors"]] == ["nonsense"]
            for name in known:
                twice = call(f"{at}?{name}=1&{name}=1")
                assert name in refused(twice, 422, "invalid_request")
            tried += 1
    assert tried > 30


def test_an_answer_does_not_repeat_all_of_a_query(api: Api) -> None:
    query = "&".join(f"{'x' * 90}{n}=1" for n in range(40))
    answer = api.get(f"/v1/galleries?{query}")
    refused(answer, 422, "invalid_request")
    assert len(answer.json["errors"]) == 20
    answer = api.get(f"/v1/galleries?{'y' * 3000}=secret")
    refused(answer, 422, "invalid_request")
    assert len(answer.text) < 1000
    assert "secret" not in answer.text


def test_who_looks_at_the_page_may_have_any_query(api: Api) -> None:
    assert api.get("/docs/swagger?v=1").status_code == 200
    assert api.get("/openapi.json?v=1").status_code == 200
    refused(api.get("/nothing?v=1"), 404, "route_not_found")
