"""Settings of the HTTP API: where it listens, whom it answers, and how much each may."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.setting_kinds import (
    HostNames,
    JwksPlace,
    JwtAlgorithms,
    NetworkList,
    OriginUrls,
    RateLimits,
)


class ApiSettings(BaseSettings):
    """The first of the settings."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    home: Path | None = Field(
        default=None,
        alias="FACEBATCH_HOME",
        description="Folder of the local stack's state and of converted models. Default: "
        "`facebatch` in the user's data folder.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        alias="FACEBATCH_PORT",
        description="Port of the HTTP API. Default: 8765, or a free one where that is taken. "
        "0 always takes a free one; a port that is set and taken is an error.",
    )
    trusted_hosts: HostNames = Field(
        default="127.0.0.1,localhost,[::1]",
        alias="FACEBATCH_TRUSTED_HOSTS",
        description="Host names that the HTTP API answers to, separated by commas; pages of other "
        "origins may not change anything. `*`: any name and any page, where a proxy sees to that; "
        "a page of another origin needs a key all the same.",
    )
    cors_origins: OriginUrls | None = Field(
        default=None,
        alias="FACEBATCH_CORS_ORIGINS",
        description="Origins of web pages that may use the HTTP API, separated by spaces, like "
        "`https://app.example.com`. Unset: none but its own.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        alias="FACEBATCH_SECRET_KEY",
        description="What keys of every other purpose are derived from: 32 characters or more, at "
        "random, the same for all processes. Unset: the local stack makes one and keeps it.",
    )
    open_loopback: bool | None = Field(
        default=None,
        alias="FACEBATCH_OPEN_LOOPBACK",
        description="Whether programs on this machine may call the HTTP API as the tenant `local` "
        "without a key: `yes` or `no`. Default: `yes` for a local stack whose stores are all its "
        "own, else `no`. Set `no` before a proxy on this machine leads others here.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        alias="FACEBATCH_API_KEY",
        description="The key that commands send to the HTTP API.",
    )
    jwt_issuer: str | None = Field(
        default=None,
        alias="FACEBATCH_JWT_ISSUER",
        description="Whose tokens are taken in place of API keys: their `iss`. Goes with the next "
        "two.",
    )
    jwt_audience: str | None = Field(
        default=None,
        alias="FACEBATCH_JWT_AUDIENCE",
        description="What stands in the `aud` of tokens that are meant for us.",
    )
    jwt_jwks: JwksPlace | None = Field(
        default=None,
        alias="FACEBATCH_JWT_JWKS",
        description="The issuer's public keys, a JWK set: an https URL, an http URL on this "
        "machine, or the absolute path of a file.",
    )
    jwt_algorithms: JwtAlgorithms = Field(
        default="RS256,PS256,ES256,EdDSA,Ed25519",
        alias="FACEBATCH_JWT_ALGORITHMS",
        description="Algorithms of signatures that are taken, separated by commas.",
    )
    jwt_tenant_claim: str = Field(
        default="tenant",
        min_length=1,
        alias="FACEBATCH_JWT_TENANT_CLAIM",
        description="The claim that names the tenant, which must exist.",
    )
    jwt_scopes_claim: str = Field(
        default="scope",
        min_length=1,
        alias="FACEBATCH_JWT_SCOPES_CLAIM",
        description="The claim that names the scopes: a list, or a text with spaces between them.",
    )

    rate_limit: RateLimits = Field(
        default="6000/minute",
        alias="FACEBATCH_RATE_LIMIT",
        description="Requests of one API key, or of one token's subject, in a `second`, `minute`, "
        "`hour` or `day`; several with commas between them; or `off`.",
    )
    address_rate_limit: RateLimits = Field(
        default="600/minute",
        alias="FACEBATCH_ADDRESS_RATE_LIMIT",
        description="Likewise, requests from one address that show no key or token, or none that "
        "is known.",
    )
    wrong_key_limit: RateLimits = Field(
        default="30/minute",
        alias="FACEBATCH_WRONG_KEY_LIMIT",
        description="Likewise, keys and tokens that are not good, from one address. Beyond that it "
        "is asked to wait, whatever it shows.",
    )
    loopback_rate_limit: RateLimits = Field(
        default="off",
        alias="FACEBATCH_LOOPBACK_RATE_LIMIT",
        description="Likewise, requests of programs on this machine that need no key.",
    )
    trusted_proxies: NetworkList | None = Field(
        default=None,
        alias="FACEBATCH_TRUSTED_PROXIES",
        description="Networks of proxies whose `X-Forwarded-For` is believed, like "
        "`10.0.0.0/8,fd00::/8`: by it, addresses are told apart. Unset: nobody's is.",
    )

    quota_bytes: int | None = Field(
        default=None,
        ge=0,
        alias="FACEBATCH_QUOTA_BYTES",
        description="Bytes that a tenant may have stored, where nothing else is said for it. "
        "Unset: as many as it likes.",
    )
    quota_open_photos: int | None = Field(
        default=None,
        ge=0,
        alias="FACEBATCH_QUOTA_OPEN_PHOTOS",
        description="Likewise, photos of jobs that have not ended.",
    )
    quota_open_jobs: int | None = Field(
        default=None,
        ge=0,
        alias="FACEBATCH_QUOTA_OPEN_JOBS",
        description="Likewise, jobs that have not ended.",
    )

    @model_validator(mode="after")
    def _issuer_is_whole(self) -> Self:
        parts = (self.jwt_issuer, self.jwt_audience, self.jwt_jwks)
        if any(parts) and not all(parts):
            raise ValueError(
                "FACEBATCH_JWT_ISSUER, FACEBATCH_JWT_AUDIENCE and FACEBATCH_JWT_JWKS go together; "
                "set all three"
            )
        return self

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        named = self.trusted_proxies.split(",") if self.trusted_proxies else ()
        return tuple(ip_network(one.strip()) for one in named)

    @property
    def jwt_algorithm_names(self) -> list[str]:
        """The names of `jwt_algorithms`."""
        return [name.strip() for name in self.jwt_algorithms.split(",")]
