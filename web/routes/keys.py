"""API keys: make, list, read, rotate, revoke."""

import datetime as dt
from http import HTTPStatus

from flask import Response, url_for

from db import api_keys
from db.api_keys import MadeKey
from db.session import transaction
from web.answers import answer
from web.claims import kept
from web.openapi import KEYS, blueprint, problems
from web.paging import cursors, page_of
from web.schemas.base import PageQuery
from web.schemas.keys import KeyIn, KeyOut, KeyPath, KeyRotationIn, KeysOut, NewKeyOut
from web.services import services

api = blueprint("keys", __name__, KEYS)


@api.post(
    "/keys",
    description="The answer is the only one that shows it.",
    responses={201: NewKeyOut, **problems(400, 413, 415, 422, 503)},
)
def create_key(body: KeyIn) -> Response:
    """Make an API key."""
    here = services()
    with transaction(here.database) as session:
        made = api_keys.create_key(session, here.tenant_id, body.new(), here.hashing_key)
        return kept(session, _shown_once(made))


@api.get("/keys", responses={200: KeysOut, **problems(400, 422, 503)})
def list_keys(query: PageQuery) -> Response:
    """List API keys, the oldest first, those that have ended included."""
    here = services()
    pages = cursors(here)
    with transaction(here.database) as session:
        found = api_keys.list_keys(
            session, here.tenant_id, after=pages.next_id(query.cursor), limit=query.limit + 1
        )
    page, more = page_of(found, query.limit)
    return answer(
        KeysOut(
            keys=[KeyOut.of(one) for one in page],
            next_cursor=pages.behind(page[-1].id) if more else None,
        )
    )


@api.get("/keys/<uuid:key_id>", responses={200: KeyOut, **problems(404, 503)})
def read_key(path: KeyPath) -> Response:
    """Read what is known of an API key: when it was last used, say."""
    here = services()
    with transaction(here.database) as session:
        found = api_keys.get_key(session, here.tenant_id, path.key_id)
    return answer(KeyOut.of(found))


@api.post(
    "/keys/<uuid:key_id>/rotate",
    description="The new one has the name, the scopes and the lifetime of the old, which is good "
    "for `overlap_s` yet.",
    responses={201: NewKeyOut, **problems(400, 404, 409, 413, 415, 422, 503)},
)
def rotate_key(path: KeyPath, body: KeyRotationIn) -> Response:
    """Make an API key in place of another."""
    here = services()
    with transaction(here.database) as session:
        made = api_keys.rotate_key(
            session,
            here.tenant_id,
            path.key_id,
            here.hashing_key,
            overlap=dt.timedelta(seconds=body.overlap_s),
        )
        return kept(session, _shown_once(made))


@api.delete("/keys/<uuid:key_id>", responses={204: None, **problems(404, 503)})
def revoke_key(path: KeyPath) -> Response:
    """Revoke an API key, for good and at once; it stays in the list."""
    here = services()
    with transaction(here.database) as session:
        api_keys.revoke_key(session, here.tenant_id, path.key_id)
    return Response(status=HTTPStatus.NO_CONTENT)


def _shown_once(made: MadeKey) -> Response:
    location = url_for("keys.read_key", key_id=made.view.id)
    return answer(
        NewKeyOut.of_made(made), HTTPStatus.CREATED, Location=location, Cache_Control="no-store"
    )
