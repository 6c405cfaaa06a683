"""What tests of tokens share: an issuer with keys, whose set lies in a file or behind a server."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from db.settings import Settings, load_settings

ISSUER = "https://issuer.example"
AUDIENCE = "facebatch"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
ENCRYPTING = RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"})
STRANGE = {"kty": "NEW", "kid": "strange"}


def public(*keys: Key) -> dict[str, Any]:
    """The set of these keys as an issuer publishes it, with one of a kind that nobody knows."""
    return {"keys": [STRANGE, *(one.as_dict(private=False) for one in keys)]}


def claims(**changed: Any) -> dict[str, Any]:
    """Good ones, but for what is changed; None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "tenant": "acme",
        "scope": "openid read submit",
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(
    key: Key = RSA, alg: str = "RS256", header: dict[str, Any] | None = None, **changed: Any
) -> str:
    """A token that this key has signed."""
    head = {"alg": alg, "kid": key.kid} | (header or {})
    head = {name: value for name, value in head.items() if value is not None}
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jwt.encode(head, claims(**changed), key, registry=registry)


def confused(alg: str = "HS256") -> str:
    """A token that is signed with the issuer's public key, as if that were a shared secret."""
    signed = f"{encoded({'alg': alg, 'kid': RSA.kid})}.{encoded(claims())}"
    mac = hmac.digest(RSA.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{encoded(mac)}"


def encoded(value: Any) -> str:
    """As a part of a token: bytes as they are, all else as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(head: dict[str, Any], **changed: Any) -> str:
    """A token with this very header, which the library would not make, signed by `RSA`."""
    signed = f"{encoded({'alg': 'RS256', 'kid': 'rsa'} | head)}.{encoded(claims(**changed))}"
    signature = RSA.private_key.sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{encoded(signature)}"


def issuer_settings(jwks: str, **more: str) -> Settings:
    """Settings that name the issuer, whose keys are at `jwks`."""
    return load_settings(
        {
            "FACEBATCH_JWT_ISSUER": ISSUER,
            "FACEBATCH_JWT_AUDIENCE": AUDIENCE,
            "FACEBATCH_JWT_JWKS": jwks,
            **more,
        },
        dotenv=None,
    )


def in_file(folder: Path, *keys: Key) -> str:
    """The path of a file with the set of these keys."""
    file = folder / "jwks.json"
    file.write_text(json.dumps(public(*keys)))
    return str(file)
