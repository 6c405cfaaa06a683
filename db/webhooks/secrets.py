"""Secrets that events are signed with, as Standard Webhooks 1.0.0 has it.

They are kept encrypted (AES-256-GCM), each bound to its owner, so that a copy of the database alone
signs nothing, and no row's secret can be moved into another row.
"""

import base64
import hashlib
import hmac
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from db.derived_keys import Purpose, derived_key
from db.settings import Settings

PREFIX = "whsec_"
SECRET_BYTES = 32
NONCE_BYTES = 12


def new_secret() -> bytes:
    """Random bytes to sign with."""
    return os.urandom(SECRET_BYTES)


def shown(secret: bytes) -> str:
    """The secret as its owner gets to see it, once."""
    return PREFIX + base64.b64encode(secret).decode()


def owner_of_endpoint(endpoint_id: uuid.UUID) -> bytes:
    """To whom an endpoint's secret is bound."""
    return b"endpoint " + endpoint_id.bytes


def owner_of_callbacks(tenant_id: int) -> bytes:
    """To whom the secret of a tenant's callbacks is bound."""
    return b"callbacks %d" % tenant_id


@dataclass(frozen=True, slots=True)
class Safe:
    """Encrypts secrets for the tables, and reads them again."""

    key: bytes

    @classmethod
    def from_settings(cls, settings: Settings) -> "Safe":
        """Raises `SettingsError` where there is no secret key to derive from."""
        return cls(derived_key(settings, Purpose.WEBHOOK_SECRETS))

    def sealed(self, secret: bytes, owner: bytes) -> bytes:
        """The secret, encrypted and bound to its owner."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, secret, owner)

    def opened(self, sealed: bytes, owner: bytes) -> bytes | None:
        """The secret; None where it was sealed with another key, or for another owner."""
        try:
            return AESGCM(self.key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner)
        except InvalidTag:
            return None


def signatures(secrets: Sequence[bytes], event_id: uuid.UUID, at_s: int, body: bytes) -> str:
    """The header `webhook-signature`: one for each secret, the newest first."""
    signed = f"{event_id}.{at_s}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
        for secret in secrets
    )
