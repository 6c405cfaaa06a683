"""Kinds of settings that are more than a number or a text: addresses, names of hosts, places."""

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

MAX_KEY_BYTES = 1024
"""Of an object's key, as S3 has it."""

JWS_ALGORITHMS = {
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
    *("EdDSA", "Ed25519", "HS256", "HS384", "HS512"),
}


def _url(schemes: tuple[str, ...], example: str) -> AfterValidator:
    """Checks that a secret string is a URL of one of `schemes` with a host."""

    def check(value: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(value.get_secret_value())
            usable = parts.scheme in schemes and parts.hostname and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"must be a URL like {example}")
        return value

    return AfterValidator(check)


def _hosts(value: str) -> str:
    """Checks that a string lists host names, with neither scheme nor port."""
    for name in value.split(","):
        if not re.fullmatch(r"\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", name.strip()):
            raise ValueError(
                f"'{name.strip()}' is no host name; neither scheme nor port go with it"
            )
    return value


def _origins(value: str) -> str:
    """Checks that a string lists origins as browsers write them."""
    for origin in value.split():
        if not re.fullmatch(
            r"https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9]\d{0,4})?", origin
        ):
            raise ValueError(f"'{origin}' is no origin like https://app.example.com")
        scheme, _, port = origin.partition("://")[0], "", origin.rpartition(":")[2]
        if (scheme, port) in {("http", "80"), ("https", "443")}:
            raise ValueError(f"'{origin}' has its scheme's own port, which browsers leave out")
    return value


def _places(value: str) -> str:
    """Checks that a string lists places of objects, with spaces between them.

    Before each may stand whose it is.
    """
    for place in value.split():
        if not re.fullmatch(
            r"((\*|[a-z0-9][a-z0-9._-]{0,62})=)?s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", place
        ):
            raise ValueError(
                f"'{place}' is no place like s3://bucket/folder/ or tenant=s3://bucket/folder/"
            )
    return value


def _networks(value: str) -> str:
    """Checks that a string lists networks in CIDR notation, with commas between them."""
    for one in value.split(","):
        try:
            ipaddress.ip_network(one.strip())
        except ValueError:
            raise ValueError(f"'{one.strip()}' is no network like 10.1.0.0/16") from None
    return value


def name_server(value: str) -> tuple[str, int]:
    """Address and port of `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`.

    Raises `ValueError`.
    """
    with_port = re.fullmatch(r"(?:\[([^]]+)\]|([^:\[\]]+)):([0-9]{1,5})", value)
    address, port = (with_port[1] or with_port[2], int(with_port[3])) if with_port else (value, 53)
    if not 0 < port < 65536:
        raise ValueError("no such port")
    return str(ipaddress.ip_address(address)), port


def _name_servers(value: str) -> str:
    """Checks that a string lists name servers, with commas between them."""
    for one in value.split(","):
        try:
            name_server(one.strip())
        except ValueError:
            raise ValueError(
                f"'{one.strip()}' is no address like 9.9.9.9 or 127.0.0.1:5353"
            ) from None
    return value


def _rates(value: str) -> str:
    """Checks that a string lists numbers of requests in a time, with commas between them."""
    for one in value.split(","):
        if not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", one.strip()):
            raise ValueError(f"'{one.strip()}' is no limit like 600/minute, and not 'off'")
    return value


def _algorithms(value: str) -> str:
    """Checks that a string lists algorithms of JWS, of which `none` is none."""
    for name in value.split(","):
        if name.strip() not in JWS_ALGORITHMS:
            raise ValueError(
                f"'{name.strip()}' is no algorithm of {', '.join(sorted(JWS_ALGORITHMS))}"
            )
    return value


def _jwks(value: str) -> str:
    """Checks that a string is a file, or a URL that nobody on the way can answer for."""
    if value.startswith("/"):
        return value
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if (
        not host
        or parts.username is not None
        or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
    ):
        raise ValueError("must be a URL like https://issuer.example/jwks.json, or a file's path")
    return value


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means the machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _object_key(value: str) -> str:
    """Checks that S3 and PostgreSQL can both keep the key of an object."""
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("must be whole characters") from None
    if "\0" in value:
        raise ValueError("must have no zero byte")
    if not 0 < size_bytes <= MAX_KEY_BYTES:
        raise ValueError(f"must have 1 to {MAX_KEY_BYTES} bytes in UTF-8")
    return value


PostgresUrl = Annotated[
    SecretStr, _url(("postgresql", "postgres"), "postgresql://user:password@host:5432/name")
]
RedisUrl = Annotated[SecretStr, _url(("redis", "rediss"), "redis://:password@host:6379/0")]
HttpUrl = Annotated[SecretStr, _url(("http", "https"), "https://s3.example.com")]
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
ObjectKey = Annotated[
    str,
    # Said in the description alone: the check's own words are plainer.
    Field(min_length=1, json_schema_extra={"maxLength": MAX_KEY_BYTES, "pattern": r"^[^\u0000]*$"}),
    AfterValidator(_object_key),
]
HostNames = Annotated[str, AfterValidator(_hosts)]
OriginUrls = Annotated[str, AfterValidator(_origins)]
PlaceUrls = Annotated[str, AfterValidator(_places)]
NetworkList = Annotated[str, AfterValidator(_networks)]
NameServers = Annotated[str, AfterValidator(_name_servers)]
RateLimits = Literal["off"] | Annotated[str, AfterValidator(_rates)]
JwtAlgorithms = Annotated[str, AfterValidator(_algorithms)]
JwksPlace = Annotated[str, AfterValidator(_jwks)]
