"""What Schemathesis has to know of this API that its description cannot tell."""

import os
import re
import uuid
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

from web.idempotency import HEADER, PATTERN

PHOTOS = [path.read_bytes() for path in sorted(Path(os.environ["CONTRACT_PHOTOS"]).glob("*.jpg"))]
OWN_KEY = os.environ["CONTRACT_KEY_ID"]
NOWHERE = str(uuid.UUID(int=0))
REFUSALS = {
    "archive_too_large",
    "callback_secret_missing",
    "cursor_invalid",
    "empty_file",
    "engine_unknown",
    "face_too_small",
    "file_name_invalid",
    "file_too_large",
    "name_invalid",
    "no_face",
    "not_an_image",
    "several_faces",
    "source_not_allowed",
    "subject_required",
    "threshold_out_of_range",
    "url_not_allowed",
}
"""What no schema can tell: that nobody handed out this cursor, or that a photo shows no face."""
INTEGRAL = "Input should be a valid integer"
"""In JSON Schema 1.0 is an integer. Here integers are written without a fraction."""
WHOLES = {"archive", "body", "manifest", "query"}
"""Where rules between fields are told of; the kinds of sources are such wholes too."""

schemathesis.openapi.format("binary", st.sampled_from(PHOTOS) | st.binary(min_size=1, max_size=64))


@schemathesis.hook
def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """Draws another idempotency key for each request, and never takes its own key away."""
    key = (case.headers or {}).get(HEADER)
    if isinstance(key, str) and re.fullmatch(PATTERN, key):
        case.headers[HEADER] = uuid.uuid4().hex
    if OWN_KEY in str((case.path_parameters or {}).get("key_id", "")).lower():
        case.path_parameters["key_id"] = NOWHERE


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leaves out forms that are wrong by the type of a field alone: on the wire each is a text."""
    if not str(case.media_type).startswith("multipart/") or case.meta is None:
        return True
    mutations = getattr(case.meta.phase.data, "mutations", ())
    return not mutations or any(set(one.keywords) != {"type"} for one in mutations)


@schemathesis.check
def accepts_what_it_describes(_context: Any, response: Any, case: Any) -> None:
    """What is as described is refused for reasons alone that no description can give."""
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in {400, 413, 415, 422}:
        return
    problem = response.json()
    wrong = [one["field"] for one in problem.get("errors") or [] if one["message"] != INTEGRAL]
    between = {one.rpartition(".")[2] for one in wrong} <= WHOLES
    if problem["code"] not in REFUSALS and not (problem["code"] == "invalid_request" and between):
        raise AssertionError(f"refused: {problem['code']}, {problem['detail'][:200]}")
