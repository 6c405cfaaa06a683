"""Who calls: the one place that says for which tenant a request works, and what it may do.

A caller shows an API key or a token of the operator's issuer. A program on this machine may need
neither: then what decides is from where the connection comes, and that nobody handed it on.
"""

import hmac
from collections.abc import Collection

from flask import Flask, Request, g, request

from db.api_keys import FoundKey, KeyState, find_key, note_use
from db.key_text import MARK, read_key_text
from db.scopes import Scope
from db.session import transaction
from db.setting_kinds import is_loopback
from db.tenancy import act_for
from db.tenants import LOCAL_TENANT, find_tenant
from web.errors import (
    KeyExpiredError,
    KeyInvalidError,
    KeyMalformedError,
    KeyMissingError,
    KeyRevokedError,
    RequestError,
    ScopeMissingError,
    TenantUnknownError,
)
from web.issuers import Issuer
from web.live.handshake import offered_bearer
from web.origins import host_name, is_foreign
from web.rate_limits import RateLimits, count_as
from web.scopes import needed_scopes
from web.services import Caller, Services, services

HANDED_ON = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP",
             "Via")  # fmt: skip
"""Headers of a proxy's: who is behind it is not on this machine."""
NOBODY = bytes(32)
"""The hash of no key: what an unknown one is compared with."""


def guard(app: Flask, limits: RateLimits) -> None:
    """Lets requests into the app's routes only where the caller has the scope that each needs.

    A request works for its caller's tenant, and its thread then for none. Whoever asks too often
    is refused before it is told anything else.
    Raises `LookupError` where it is not said which scope a route needs.
    """
    needed = needed_scopes(app)

    def identify() -> None:
        # From here on PostgreSQL shows what is the caller's, and to nobody anything.
        act_for(None)
        if not _is_asked(needed):
            return
        try:
            g.caller = identified(services(), request)
        except RequestError as exc:
            g.refusal = exc

    def admit() -> None:
        if not _is_asked(needed):
            return
        if "refusal" in g:
            raise g.refusal
        g.scope = needed[request.endpoint or ""]
        _let_in()

    def leave(_error: BaseException | None) -> None:
        act_for(None)

    limits.guard_keys(app, shows_one=lambda: _shown(request) is not None)
    app.before_request(identify)
    limits.guard_requests(app)
    app.before_request(admit)
    app.teardown_request(leave)


def admit_again() -> None:
    """Lets the request go on, where its caller may still do what it does.

    For requests that last: a key may be revoked meanwhile, and a token come to its end. Raises
    `UnauthenticatedError`, `TenantUnknownError`, `ScopeMissingError`.
    """
    g.caller = identified(services(), request)
    _let_in()


def _let_in() -> None:
    if g.scope not in g.caller.scopes:
        raise ScopeMissingError(g.scope)
    act_for(g.caller.tenant_id)


def _is_asked(needed: Collection[str]) -> bool:
    """Whether the route wants to know who calls.

    Which methods a route takes is no secret, and pages ask for it without a key.
    """
    return request.endpoint in needed and request.method != "OPTIONS"


def identified(here: Services, asked: Request) -> Caller:
    """Who sends this request; raises `UnauthenticatedError`, `TenantUnknownError`.

    As soon as it is known whose key or token it is, good or not, requests count as theirs.
    """
    credential = _credential(asked)
    if credential is None:
        if not _is_at_home(here, asked):
            raise KeyMissingError(
                "this needs an API key, in the header 'Authorization: Bearer fb_live_...'"
            )
        return _at_home(here)
    if here.issuer is None or credential.startswith(MARK):
        return _with_key(here, credential)
    return _with_token(here, here.issuer, credential)


def _credential(asked: Request) -> str | None:
    """The key or token that the request shows; raises `KeyMalformedError`."""
    given = _shown(asked)
    if given is None:
        return None
    scheme, _, credential = given.strip().partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise KeyMalformedError("the header must read 'Authorization: Bearer fb_live_...'")
    return credential


def _shown(asked: Request) -> str | None:
    """What the request shows as its key or token, wherever it may stand, and however it reads."""
    given = asked.headers.get("Authorization")
    if given is None and asked.url_rule is not None and asked.url_rule.websocket:
        given = offered_bearer(asked)
    return given


def _is_at_home(here: Services, asked: Request) -> bool:
    return (
        bool(here.settings.open_loopback)
        and is_loopback(asked.remote_addr or "")
        and is_loopback(host_name(asked.host))
        and not any(name in asked.headers for name in HANDED_ON)
        # A browser on this machine asks for any page, wherever the page is from.
        and not is_foreign(asked, here.settings.cors_origin_names)
    )


def _at_home(here: Services) -> Caller:
    return Caller(tenant_id=here.local_tenant_id, tenant_name=LOCAL_TENANT, scopes=frozenset(Scope))


def _with_key(here: Services, text: str) -> Caller:
    key = read_key_text(text)
    if key is None:
        raise KeyMalformedError("this is no whole API key: it was mistyped, or cut off")
    with transaction(here.directory) as session:
        found = find_key(session, key.handle)
    # An unknown key goes the very way of a wrong one: nobody learns which of the two it is.
    kept = found.secret_hash if found else NOBODY
    is_right = hmac.compare_digest(kept, key.hashed(here.hashing_key))
    if found is None or not is_right:
        raise KeyInvalidError("there is no such API key; it was deleted, or is another server's")
    count_as("key", str(found.id))
    _check(found)
    if found.use_is_due:
        note_use(here.directory, found.id)
    return Caller(
        tenant_id=found.tenant_id,
        tenant_name=found.tenant_name,
        scopes=found.scopes,
        key_id=found.id,
    )


def _check(found: FoundKey) -> None:
    """Told to those alone who have the whole key."""
    if found.state is KeyState.REVOKED:
        raise KeyRevokedError("the API key was revoked; use another")
    if found.state is KeyState.EXPIRED:
        raise KeyExpiredError("the API key has expired, or was replaced by another; use that")


def _with_token(here: Services, issuer: Issuer, token: str) -> Caller:
    claimed = issuer.claims(token)
    count_as("token", claimed.tenant, claimed.subject or "")
    with transaction(here.directory) as session:
        tenant_id = find_tenant(session, claimed.tenant)
    if tenant_id is None:
        raise TenantUnknownError("the token names no tenant that there is here")
    return Caller(tenant_id=tenant_id, tenant_name=claimed.tenant, scopes=claimed.scopes)
