"""Keys for one purpose each, all derived from the deployment's one secret.

By HMAC-SHA256 over the purpose's name, as HKDF (RFC 5869) expands a key that is uniform already.
Whoever learns one of them learns nothing of the others.
"""

import hashlib
import hmac
from enum import Enum

from db.settings import Settings


class Purpose(Enum):
    """What a key is for. With another value, all that was made with its key becomes invalid."""

    API_KEYS = "api-keys"
    """Hashes of API keys."""
    CURSORS = "cursors"
    """Signatures of the cursors of pages."""
    WEBHOOK_SECRETS = "webhook-secrets"
    """Encryption of the secrets that webhooks are signed with."""
    REQUESTS = "requests"
    """Fingerprints of requests that came with an idempotency key."""
    FINGERPRINT = "fingerprint"
    """Telling whether two processes have the same secret."""


def derived_key(settings: Settings, purpose: Purpose) -> bytes:
    """32 bytes; raises `SettingsError` where there is no secret to derive them from."""
    secret = settings.require_secret_key().secret_key
    assert secret is not None  # noqa: S101 - it was required.
    label = f"facebatch {purpose.value}".encode()
    return hmac.digest(secret.get_secret_value().encode(), label, hashlib.sha256)


def fingerprint(settings: Settings) -> str:
    """The same for two processes that have the same secret, and of no other use."""
    return derived_key(settings, Purpose.FINGERPRINT).hex()[:16]
