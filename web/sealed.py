"""Answers as they are kept: sealed, so that they say nothing to whoever lacks their key."""

import base64
import json
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Response

NONCE_BYTES = 12
OF_THE_BODY = {"content-length"}
"""Headers that the body makes anew."""


def sealed(response: Response, key: bytes) -> bytes:
    """The answer with its status, headers and body; `key` has 32 bytes."""
    headers = [pair for pair in response.headers if pair[0].lower() not in OF_THE_BODY]
    body = base64.b64encode(response.get_data()).decode()
    plain = json.dumps([response.status_code, headers, body]).encode()
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, None)


def unsealed(data: bytes, key: bytes) -> Response:
    """What `sealed` was given."""
    plain = AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
    status, headers, body = json.loads(plain)
    return Response(base64.b64decode(body), status=status, headers=headers)
