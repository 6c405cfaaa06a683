"""Tokens of the operator's issuer: JWTs (RFC 7519) that say for which tenant somebody acts."""

import time
import warnings
from dataclasses import dataclass
from typing import Any, Self

from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ExpiredTokenError,
    InvalidClaimError,
    JoseError,
    MissingClaimError,
)
from joserfc.jwk import GuestProtocol, Key
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from db.scopes import Scope
from db.settings import Settings
from web.errors import TokenExpiredError, TokenInvalidError
from web.jwks import IssuerKeys

# Issuers write it for Ed25519, whatever the standard has come to prefer.
warnings.filterwarnings("ignore", message="EdDSA is deprecated")
LEEWAY_S = 30
"""Clocks differ by so much."""
MAX_TOKEN_CHARS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a good token says."""

    tenant: str
    scopes: frozenset[Scope]
    subject: str | None = None
    """Who acts for the tenant, where the token says so."""


class Issuer:
    """Checks tokens; one for each process, because it keeps the issuer's keys."""

    def __init__(self, settings: Settings, *, name: str, audience: str, keys: IssuerKeys) -> None:
        self.keys = keys
        self._name = name
        self._audience = audience
        self._algorithms = settings.jwt_algorithm_names
        self._tenant_claim = settings.jwt_tenant_claim
        self._scopes_claim = settings.jwt_scopes_claim

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The issuer that the settings name, or None where they name none."""
        name, audience, jwks = settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks
        if not (name and audience and jwks):
            return None
        return cls(settings, name=name, audience=audience, keys=IssuerKeys(jwks))

    def claims(self, token: str) -> Claimed:
        """What the token says, once all of it is checked.

        Raises `TokenInvalidError`, `TokenExpiredError`, `IssuerUnavailableError`.
        """
        claims = self._checked(token)
        tenant = claims.get(self._tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise TokenInvalidError(f"the token has no tenant in its claim '{self._tenant_claim}'")
        subject = claims.get("sub")
        return Claimed(
            tenant=tenant,
            subject=subject if isinstance(subject, str) else None,
            scopes=_scopes(claims.get(self._scopes_claim)),
        )

    def _checked(self, token: str) -> dict[str, Any]:
        """All claims of a token whose signature and times are good, from the issuer, for us."""
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenInvalidError("the token is too long")
        # Whatever a header has besides is passed over, as the standard wants it, unless critical.
        registry = JWSRegistry(algorithms=self._algorithms, strict_check_header=False)
        try:
            claims = jwt.decode(token, self._key, registry=registry).claims
            if not isinstance(claims, dict):
                raise TokenInvalidError("the token's payload is no object")
            self._wanted().validate(claims)
        except ExpiredTokenError as exc:
            raise TokenExpiredError("the token has expired; get a new one") from exc
        except (JoseError, ValueError, LookupError, TypeError, RecursionError) as exc:
            raise TokenInvalidError(_reason(exc)) from exc
        return claims

    def _wanted(self) -> JWTClaimsRegistry:
        return JWTClaimsRegistry(
            now=int(time.time()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._name},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )

    def _key(self, signed: GuestProtocol) -> Key:
        """The key that a token names; asked for once its algorithm is known to be one of ours."""
        kid = signed.headers().get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenInvalidError("the token's 'kid' is no text")
        key = self.keys.key(kid)
        if key is None:
            raise TokenInvalidError("the token is signed with no key of the issuer's")
        return key


def _scopes(claimed: object) -> frozenset[Scope]:
    """Those of the scopes that are ours; the others are for somebody else."""
    if isinstance(claimed, str):
        claimed = claimed.split()
    names = claimed if isinstance(claimed, list) else []
    return frozenset(one for one in Scope if one.value in names)


def _reason(error: Exception) -> str:
    """What is wrong, without a word of the token's own."""
    if isinstance(error, MissingClaimError | InvalidClaimError):
        return f"the token does not have the '{error.claim}' that it should have"
    if isinstance(error, BadSignatureError):
        return "the token's signature is wrong"
    return "this is no token of the issuer's, in an algorithm that is taken"
