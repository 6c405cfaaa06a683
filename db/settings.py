"""Every setting of facebatch: one frozen object, read from the environment and from `.env`."""

import difflib
import os
import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from dotenv import dotenv_values
from platformdirs import user_data_dir
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from db.api_settings import ApiSettings
from db.secret_files import FILE_NAMES, overridden, secrets_of
from db.setting_kinds import (
    BucketName,
    HttpUrl,
    NameServers,
    NetworkList,
    PlaceUrls,
    PostgresUrl,
    RedisUrl,
)
from pipeline.errors import FaceBatchError
from pipeline.specs import DEFAULT_ENGINE

OWN_PREFIX = "FACEBATCH_"
MODELS_FOLDER = "models"
"""In the home; whoever computes faces makes it, with or without a local stack."""
MAX_PROCESSES = 1024
MAX_CHUNK_ITEMS = 256
MAX_LIVE_STREAMS = 32
OTHER_REGION = "AWS_DEFAULT_REGION"
"""What AWS's own tools read; taken where AWS_REGION is not set."""


class SettingsError(FaceBatchError):
    """A setting is unknown, malformed or missing; the message names it."""

    code = "settings_invalid"


class Settings(ApiSettings):
    """All settings. The environment wins over `.env`; a name that we do not know is refused."""

    worker_processes: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=MAX_PROCESSES,
        alias="FACEBATCH_WORKERS",
        description="Worker processes on this machine. Default: one per core.",
    )
    urgent_processes: int = Field(
        default=1,
        ge=0,
        le=1024,
        alias="FACEBATCH_URGENT_WORKERS",
        description="Worker processes on this machine, beside the others, for photos whose answer "
        "somebody waits for. 0: the others take those as well, before all else.",
    )
    max_upload_bytes: int = Field(
        default=25_000_000,
        ge=1,
        alias="FACEBATCH_MAX_UPLOAD_BYTES",
        description="Largest photo, in bytes.",
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        alias="FACEBATCH_MAX_PIXELS",
        description="Largest photo, in pixels; checked before decoding.",
    )
    max_archive_bytes: int = Field(
        default=100_000_000_000,
        ge=1,
        alias="FACEBATCH_MAX_ARCHIVE_BYTES",
        description="Largest zip, in bytes, and the most that the photos in one have unpacked.",
    )
    max_archive_entries: int = Field(
        default=1_000_000,
        ge=1,
        alias="FACEBATCH_MAX_ARCHIVE_ENTRIES",
        description="Entries of one zip, at the most, folders and what is no photo included.",
    )
    sources: PlaceUrls | None = Field(
        default=None,
        alias="FACEBATCH_SOURCES",
        description="Where sources of jobs may lie besides `sources/<tenant>/` in the photos' "
        "bucket: places like `s3://bucket/folder/`, separated by spaces. They are for the tenant "
        "`local`; `NAME=s3://bucket/folder/` is for the tenant NAME, and `*=` for all of them.",
    )
    chunk_items: int = Field(
        default=32,
        ge=1,
        le=MAX_CHUNK_ITEMS,
        alias="FACEBATCH_CHUNK_ITEMS",
        description="Photos that a worker takes at once, at the most.",
    )
    chunks_in_flight: int = Field(
        default=16,
        ge=1,
        alias="FACEBATCH_CHUNKS_IN_FLIGHT",
        description="Photos that wait in Redis or run, at the most, over all workers, in full "
        "chunks.",
    )
    search_memory_mb: int = Field(
        default=256,
        ge=0,
        le=1_000_000,
        alias="FACEBATCH_SEARCH_MEMORY_MB",
        description="Megabytes in each worker process for large galleries, which are searched "
        "there: a million templates of 128 dimensions take 540. The database searches those that "
        "find no room. 0: all of them.",
    )
    lease_s: float = Field(
        default=45.0,
        ge=1,
        allow_inf_nan=False,
        alias="FACEBATCH_LEASE_S",
        description="Seconds without a sign of life after which a worker's photos run again.",
    )
    reconcile_every_s: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        alias="FACEBATCH_RECONCILE_EVERY_S",
        description="Seconds between two looks for expired leases, lost messages and orphans.",
    )
    resend_after_s: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        alias="FACEBATCH_RESEND_AFTER_S",
        description="Seconds without a claim after which a chunk is taken for lost once the queue "
        "has nothing in it.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        alias="FACEBATCH_MAX_ATTEMPTS",
        description="Times that a photo may take its worker down before it is set aside.",
    )
    heartbeat_file: Path | None = Field(
        default=None,
        alias="FACEBATCH_HEARTBEAT_FILE",
        description="File that a worker, the dispatcher, the reconciler or the courier touches "
        "every second while it is well: for whoever watches it. The local stack sets one for each.",
    )
    live_streams: int = Field(
        default=8,
        ge=0,
        le=MAX_LIVE_STREAMS,
        alias="FACEBATCH_LIVE_STREAMS",
        description="Live streams that each process of the web server takes at once, at most half "
        "of them of one tenant. 0: none.",
    )
    export_days: int = Field(
        default=7,
        ge=1,
        le=3650,
        alias="FACEBATCH_EXPORT_DAYS",
        description="Days after which an export that was written into the bucket is deleted.",
    )
    event_days: int = Field(
        default=30,
        ge=6,
        le=3650,
        alias="FACEBATCH_EVENT_DAYS",
        description="Days after which an event is deleted with its deliveries; until then they can "
        "be read and replayed.",
    )
    webhook_networks: NetworkList | None = Field(
        default=None,
        alias="FACEBATCH_WEBHOOK_NETWORKS",
        description="Networks that webhooks may go to besides public addresses, like "
        "`10.1.0.0/16,fd00:12::/32`.",
    )
    webhook_name_servers: NameServers | None = Field(
        default=None,
        alias="FACEBATCH_WEBHOOK_NAME_SERVERS",
        description="Name servers that webhooks' hosts are looked up with, as addresses with "
        "commas between them, each with `:port` where that is not 53. Default: those of "
        "`/etc/resolv.conf`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", alias="FACEBATCH_LOG_LEVEL", description="Least severe log event written."
    )
    failpoints_dir: Path | None = Field(
        default=None,
        alias="FACEBATCH_FAILPOINTS",
        description="For tests of facebatch alone: a folder whose files make processes die at "
        "chosen moments. Leave it unset.",
    )

    database_url: PostgresUrl | None = Field(
        default=None,
        alias="DATABASE_URL",
        description="PostgreSQL 15+ with pgvector 0.8+. Unset: the local stack starts its own.",
    )
    db_host: str | None = Field(
        default=None, alias="DB_HOST", description="Host; with the other DB_* in place of the URL."
    )
    db_port: int = Field(default=5432, ge=1, le=65535, alias="DB_PORT", description="Port.")
    db_name: str = Field(default="facebatch", alias="DB_NAME", description="Database.")
    db_user: str = Field(default="facebatch", alias="DB_USER", description="User.")
    db_password: SecretStr | None = Field(
        default=None, alias="DB_PASSWORD", description="Password."
    )
    redis_url: RedisUrl | None = Field(
        default=None,
        alias="REDIS_URL",
        description="Redis or Valkey. Unset: the local stack starts its own.",
    )
    s3_endpoint_url: HttpUrl | None = Field(
        default=None,
        alias="S3_ENDPOINT_URL",
        description="S3-compatible storage. Unset: the local stack starts its own.",
    )
    s3_public_endpoint_url: HttpUrl | None = Field(
        default=None,
        alias="S3_PUBLIC_ENDPOINT_URL",
        description="The same storage as clients reach it, who upload to it directly. Default: "
        "`S3_ENDPOINT_URL`.",
    )
    s3_bucket: BucketName = Field(
        default="facebatch", alias="S3_BUCKET", description="Bucket of the photos."
    )
    aws_access_key_id: str | None = Field(
        default=None, alias="AWS_ACCESS_KEY_ID", description="Access key of the bucket."
    )
    aws_secret_access_key: SecretStr | None = Field(
        default=None, alias="AWS_SECRET_ACCESS_KEY", description="Secret key of the bucket."
    )
    aws_session_token: SecretStr | None = Field(
        default=None, alias="AWS_SESSION_TOKEN", description="Session token, where keys have one."
    )
    aws_region: str = Field(
        default="us-east-1", alias="AWS_REGION", description="Region of the bucket."
    )

    classic_threshold: float = Field(
        default=0.45,
        gt=0,
        le=DEFAULT_ENGINE.max_distance,
        alias="FACE_MATCH_THRESHOLD",
        description="Distance up to which the classic endpoints call two faces one person.",
    )
    embedding_dimension: int = Field(
        default=DEFAULT_ENGINE.dimension,
        alias="EMBEDDING_DIMENSION",
        description="Must agree with the engine; it is here to refuse a start that would not fit.",
    )

    @field_validator("embedding_dimension")
    @classmethod
    def _is_the_engines(cls, value: int) -> int:
        if value != DEFAULT_ENGINE.dimension:
            raise ValueError(
                f"is {value}, but the engine {DEFAULT_ENGINE.name} makes embeddings of "
                f"{DEFAULT_ENGINE.dimension}; unset it or set it to that"
            )
        return value

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = []
        if self.database_url and self.db_host:
            problems.append("DATABASE_URL and DB_HOST are both set; set one of them")
        if hostless := self._hostless():
            problems.append(f"{', '.join(hostless)} without DB_HOST; set it, or DATABASE_URL")
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            problems.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together; set both")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _hostless(self) -> list[str]:
        """Names of a database's parts that would be passed over in silence."""
        if self.db_host or self.database_url:
            return []
        parts = ("db_port", "db_name", "db_user", "db_password")
        return [str(type(self).model_fields[one].alias) for one in parts
                if one in self.model_fields_set]  # fmt: skip

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature.
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature.
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature.
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature.
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values come from `load_settings` alone, so that one place decides and refuses."""
        return (init_settings,)

    @property
    def home_dir(self) -> Path:
        """The home folder, whether it exists or not."""
        return (self.home or Path(user_data_dir("facebatch"))).expanduser().absolute()

    @property
    def models_dir(self) -> Path:
        """Where models are kept that were converted for this machine."""
        return self.home_dir / MODELS_FOLDER

    @property
    def trusted_host_names(self) -> frozenset[str]:
        """The host names of `trusted_hosts`, in lower case."""
        return frozenset(name.strip().lower() for name in self.trusted_hosts.split(","))

    @property
    def cors_origin_names(self) -> frozenset[str]:
        """The origins of `cors_origins`."""
        return frozenset((self.cors_origins or "").split())

    @property
    def database(self) -> str | None:
        """The address of an external PostgreSQL as a URL, or None where there is none."""
        if self.database_url:
            return self.database_url.get_secret_value()
        if not self.db_host:
            return None
        user = quote(self.db_user, safe="")
        if self.db_password:
            user += ":" + quote(self.db_password.get_secret_value(), safe="")
        host = f"[{self.db_host}]" if ":" in self.db_host else self.db_host
        return f"postgresql://{user}@{host}:{self.db_port}/{quote(self.db_name, safe='')}"

    def require_stores(self) -> Self:
        """Returns itself where all three stores have an address; raises `SettingsError` if not."""
        missing = [
            name
            for name, value in (
                ("DATABASE_URL (or DB_HOST)", self.database),
                ("REDIS_URL", self.redis_url),
                ("S3_ENDPOINT_URL", self.s3_endpoint_url),
            )
            if not value
        ]
        if missing:
            raise SettingsError(f"this process needs {', '.join(missing)}; set them")
        return self

    def require_secret_key(self) -> Self:
        """Returns itself where there is a secret key; raises `SettingsError` if not."""
        if self.secret_key is None:
            raise SettingsError(
                "this process needs FACEBATCH_SECRET_KEY, the same for all of a deployment; make "
                "one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return self


SETTING_NAMES = {str(field.alias) for field in Settings.model_fields.values()}
KNOWN_NAMES = SETTING_NAMES | FILE_NAMES | {OTHER_REGION}
"""All names that are read of an environment."""


def load_settings(
    environ: dict[str, str] | None = None, dotenv: Path | None = Path(".env")
) -> Settings:
    """Builds the settings from `environ` (default: the process's) over the file `dotenv`.

    Raises `SettingsError`, which names every setting that is unknown or malformed: all of the
    file's, and of the environment those with our prefix or one slip away from a name of ours.
    """
    process = dict(os.environ) if environ is None else environ
    file = _read_dotenv(dotenv)
    problems = [_unknown(name) for name in sorted(file) if name not in KNOWN_NAMES]
    problems += [_unknown(name) for name in sorted(process) if _is_a_slip(name)]
    values: dict[str, Any] = {}
    for source in (file, process):
        if region := source.get(OTHER_REGION):
            values["AWS_REGION"] = region
    for source in (overridden(file, process), process):
        values |= {name: source[name] for name in SETTING_NAMES & source.keys() if source[name]}
        secrets, troubles = secrets_of(source)
        values |= secrets
        problems += troubles
    try:
        settings = Settings(**values)
    except ValidationError as exc:
        problems += [_malformed(error) for error in exc.errors(include_input=False)]
        raise SettingsError("; ".join(problems)) from None
    if problems:
        raise SettingsError("; ".join(problems))
    return settings


def _read_dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}


def _is_a_slip(name: str) -> bool:
    """Whether an environment variable was surely meant for us and is not one of ours."""
    if name in KNOWN_NAMES:
        return False
    if name.startswith(OWN_PREFIX):
        return True
    if not re.match(r"(DB|S3|REDIS|DATABASE|FACE|EMBEDDING)_", name):
        return False
    return bool(difflib.get_close_matches(name, KNOWN_NAMES, n=1, cutoff=0.87))


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, KNOWN_NAMES, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else "; see docs/reference/settings.md"
    return f"{name} is no setting of facebatch{hint}"


def _malformed(error: Any) -> str:
    reason = str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0]) if error["loc"] else ""
    return f"{name}: {reason}" if name else reason
