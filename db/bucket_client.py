"""Boto's client of a bucket: for all that is more than one object in a single request."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from pydantic import SecretStr

from db.loopback import leads_to_loopback
from db.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def bucket_client(settings: Settings, url: SecretStr | None) -> "S3Client":
    """A client for the server at `url`, with the settings' keys."""
    endpoint = url.get_secret_value() if url else None
    secret, token = settings.aws_secret_access_key, settings.aws_session_token
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=token.get_secret_value() if token else None,
        region_name=settings.aws_region,
        config=Config(
            connect_timeout=3,
            # Together less than half a lease: a bucket that hangs must not look like a worker
            # that died.
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 2},
            # Loopback has no proxy, whatever the environment says. None: what it says.
            proxies={} if leads_to_loopback(endpoint) else None,
            max_pool_connections=32,
            # What is signed beforehand is otherwise signed in a way that newer regions refuse.
            signature_version="s3v4",
            # One URL form works everywhere: most S3-compatible servers have no wildcard DNS.
            s3={"addressing_style": "path"},
            # Photos already are compressed, and have a SHA-256 of ours.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
