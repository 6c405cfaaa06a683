"""Settings are refused by name when they are wrong, and never show a secret."""

import dataclasses
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from db.derived_keys import Purpose, derived_key
from db.settings import Settings, SettingsError, load_settings
from pipeline.specs import DEFAULT_ENGINE

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
SECRET = "s3cr3t-value"


@dataclasses.dataclass(frozen=True)
class Source:
    """Builds settings from a given environment and a given `.env` alone."""

    folder: Path

    def __call__(self, dotenv: str = "", **environ: str) -> Settings:
        file = self.folder / ".env"
        file.write_text(dotenv)
        return load_settings(environ, dotenv=file)

    def refusal(self, dotenv: str = "", **environ: str) -> str:
        with pytest.raises(SettingsError) as caught:
            self(dotenv, **environ)
        return str(caught.value)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_nothing_needs_to_be_set(source: Source) -> None:
    settings = source()
    assert (settings.database, settings.redis_url, settings.s3_endpoint_url) == (None, None, None)
    assert (settings.classic_threshold, settings.embedding_dimension) == (0.45, 128)


def test_the_environment_wins_over_the_file(source: Source) -> None:
    file = "FACEBATCH_PORT=1111\nFACEBATCH_CHUNK_ITEMS=8\n"
    settings = source(file, FACEBATCH_PORT="2222")
    assert (settings.port, settings.chunk_items) == (2222, 8)


def test_an_empty_value_counts_as_unset(source: Source) -> None:
    settings = source("FACEBATCH_PORT=\nDB_HOST=db", FACEBATCH_WORKERS="", DB_HOST="")
    assert (settings.port, settings.db_host) == (None, "db")
    assert settings.worker_processes >= 1


def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert load_settings({}, dotenv=tmp_path / "absent").port is None


def test_a_value_of_the_file_is_taken_as_it_stands(source: Source) -> None:
    assert source("DB_HOST=db\nDB_PASSWORD='a${HOME}b'").database == (
        "postgresql://facebatch:a%24%7BHOME%7Db@db:5432/facebatch"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACEBATCH_PORT", "65536"),
        ("FACEBATCH_PORT", "http"),
        ("FACEBATCH_WORKERS", "0"),
        ("FACEBATCH_WORKERS", "two"),
        ("FACEBATCH_MAX_PIXELS", "-1"),
        ("FACEBATCH_CHUNK_ITEMS", "1.5"),
        ("FACEBATCH_LEASE_S", "0"),
        ("FACEBATCH_LEASE_S", "nan"),
        ("FACEBATCH_RECONCILE_EVERY_S", "inf"),
        ("FACEBATCH_RECONCILE_EVERY_S", "0"),
        ("FACEBATCH_LOG_LEVEL", "loud"),
        ("FACEBATCH_OPEN_LOOPBACK", "loopback"),
        ("FACEBATCH_JWT_ALGORITHMS", "none"),
        ("FACEBATCH_JWT_JWKS", "http://issuer.example/jwks"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgresql://host:notaport/db"),
        ("DATABASE_URL", "postgresql:///socket"),
        ("DB_PORT", "0"),
        ("REDIS_URL", "http://host"),
        ("S3_ENDPOINT_URL", "s3.example.com"),
        ("S3_BUCKET", "Upper_Case"),
        ("FACE_MATCH_THRESHOLD", "0"),
        ("FACE_MATCH_THRESHOLD", "-0.1"),
        ("FACE_MATCH_THRESHOLD", "2.01"),
        ("FACE_MATCH_THRESHOLD", "nan"),
        ("FACE_MATCH_THRESHOLD", "0,45"),
        ("EMBEDDING_DIMENSION", "512"),
    ],
)
def test_a_malformed_value_is_refused_by_name(source: Source, name: str, value: str) -> None:
    more = {"DB_HOST": "db"} if name == "DB_PORT" else {}
    assert source.refusal(**{name: value}, **more).startswith(f"{name}: ")
    assert source.refusal(f"{name}={value}", **more).startswith(f"{name}: ")


def test_everything_that_is_wrong_is_said_at_once(source: Source) -> None:
    message = source.refusal(
        "FACEBATCH_PROT=1\nOTHER=1",
        FACEBATCH_PORT="x",
        FACE_MATCH_THRESHOLD="3",
        EMBEDDING_DIMENSION="512",
        FACEBATCH_NONSENSE="1",
    )
    for name in (
        "FACEBATCH_PROT",
        "OTHER",
        "FACEBATCH_PORT: ",
        "FACE_MATCH_THRESHOLD: ",
        "EMBEDDING_DIMENSION: ",
        "FACEBATCH_NONSENSE",
    ):
        assert name in message


def test_parts_that_do_not_agree_are_all_said_at_once(source: Source) -> None:
    message = source.refusal(
        DATABASE_URL="postgresql://h/d", DB_HOST="db", AWS_ACCESS_KEY_ID="only"
    )
    assert "DATABASE_URL and DB_HOST are both set" in message
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together" in message


def test_an_unknown_name_in_the_file_is_refused_whatever_it_is(source: Source) -> None:
    assert source.refusal("PATHH=1") == (
        "PATHH is no setting of facebatch; see docs/reference/settings.md"
    )


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("FACEBATCH_WORKER", "FACEBATCH_WORKERS"),
        ("REDIS_URI", "REDIS_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("S3_ENDPOINT_URI", "S3_ENDPOINT_URL"),
        ("DB_PASSWRD", "DB_PASSWORD"),
        ("FACE_MATCH_TRESHOLD", "FACE_MATCH_THRESHOLD"),
        ("EMBEDDING_DIMENSIONS", "EMBEDDING_DIMENSION"),
    ],
)
def test_a_slip_in_the_environment_is_refused_with_what_was_meant(
    source: Source, slip: str, meant: str
) -> None:
    assert source.refusal(**{slip: "1"}) == (
        f"{slip} is no setting of facebatch; did you mean {meant}?"
    )


def test_the_rest_of_the_environment_is_left_alone(source: Source) -> None:
    source(PATH="/bin", DATABASE="x", REDIS_HOST="x", AWS_PROFILE="x", S3_REGION_NAME="x", DB_="x")


def test_a_database_can_be_given_in_parts(source: Source) -> None:
    settings = source(
        DB_HOST="::1", DB_PORT="5433", DB_NAME="a/b", DB_USER="u@x", DB_PASSWORD="p:w/d"
    )
    assert settings.database == "postgresql://u%40x:p%3Aw%2Fd@[::1]:5433/a%2Fb"


def test_a_database_url_is_taken_as_it_is(source: Source) -> None:
    url = "postgresql://u:p@h:1/d?sslmode=require"
    assert source(DATABASE_URL=url).database == url


def test_two_addresses_of_a_database_are_refused(source: Source) -> None:
    assert "set one of them" in source.refusal("DB_HOST=db", DATABASE_URL="postgresql://u:p@h:1/d")


def test_parts_of_a_database_without_its_host_are_not_passed_over(source: Source) -> None:
    message = source.refusal(DB_PASSWORD=SECRET, DB_NAME="faces")
    assert message == "DB_NAME, DB_PASSWORD without DB_HOST; set it, or DATABASE_URL"
    source(DATABASE_URL="postgresql://h/d", DB_NAME="faces")


def test_the_region_of_awss_own_tools_is_read_where_ours_is_not_set(source: Source) -> None:
    assert source().aws_region == "us-east-1"
    assert source(AWS_DEFAULT_REGION="eu-west-1").aws_region == "eu-west-1"
    assert source("AWS_DEFAULT_REGION=eu-west-1").aws_region == "eu-west-1"
    assert source(AWS_DEFAULT_REGION="eu-west-1", AWS_REGION="eu-west-2").aws_region == "eu-west-2"


def test_a_process_that_needs_the_stores_names_those_it_lacks(source: Source) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL \(or DB_HOST\), S3_ENDPOINT_URL"):
        source(REDIS_URL="redis://h").require_stores()
    whole = source(REDIS_URL="redis://h", DB_HOST="h", S3_ENDPOINT_URL="http://h")
    assert whole.require_stores() is whole


def test_a_secret_key_is_asked_for_with_how_to_make_one(source: Source) -> None:
    with pytest.raises(SettingsError, match=r"FACEBATCH_SECRET_KEY.*token_urlsafe"):
        source().require_secret_key()
    keyed = source(FACEBATCH_SECRET_KEY="k" * 32)
    assert keyed.require_secret_key() is keyed


def test_a_secret_key_that_could_be_guessed_is_refused(source: Source) -> None:
    assert "FACEBATCH_SECRET_KEY" in source.refusal(FACEBATCH_SECRET_KEY="k" * 31)


def test_each_purpose_has_a_key_of_its_own(source: Source) -> None:
    settings = source(FACEBATCH_SECRET_KEY="k" * 32)
    keys = {derived_key(settings, purpose) for purpose in Purpose}
    assert len(keys) == len(Purpose)
    assert {len(key) for key in keys} == {32}
    assert keys == {derived_key(settings, purpose) for purpose in Purpose}
    other = source(FACEBATCH_SECRET_KEY="j" * 32)
    assert not keys & {derived_key(other, purpose) for purpose in Purpose}


SECRETS = {
    "FACEBATCH_API_KEY": SECRET,
    "FACEBATCH_SECRET_KEY": f"{SECRET}{'k' * 32}",
    "DATABASE_URL": f"postgresql://u:{SECRET}@h:1/d",
    "REDIS_URL": f"redis://:{SECRET}@h:1/0",
    "S3_ENDPOINT_URL": f"http://u:{SECRET}@h:1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
}


def test_no_secret_is_in_what_settings_look_like(source: Source) -> None:
    for settings in (source(**SECRETS), source(DB_HOST="h", DB_PASSWORD=SECRET)):
        shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
        assert SECRET not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABASE_URL": f"mysql://u:{SECRET}@h/d"},
        {"DATABASE_URL": f"postgresql://u:p@h:{SECRET}/d"},
        {"REDIS_URL": f"amqp://u:{SECRET}@h"},
        {"S3_ENDPOINT_URL": f"ftp://u:{SECRET}@h"},
        {"FACEBATCH_PORT": SECRET},
        {"AWS_ACCESS_KEY_ID": ""},
        {"DB_HOST": "h", "DB_PASSWORD": SECRET},
        {"FACEBATCH_TOKEN": SECRET},
    ],
)
def test_no_secret_is_in_an_error(source: Source, wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        source(**SECRETS | wrong)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_host_names_are_compared_without_case_and_blanks(source: Source) -> None:
    names = source(FACEBATCH_TRUSTED_HOSTS="Faces.Example, [::1]").trusted_host_names
    assert names == {"faces.example", "[::1]"}


def test_the_local_stack_answers_to_this_machines_own_names(source: Source) -> None:
    assert source().trusted_host_names == {"127.0.0.1", "localhost", "[::1]"}


@pytest.mark.parametrize(
    "hosts", ["http://faces.example", "faces.example:80", "a,,b", "*.b", "::1"]
)
def test_a_host_name_is_a_name_and_no_more(source: Source, hosts: str) -> None:
    assert "FACEBATCH_TRUSTED_HOSTS" in source.refusal(FACEBATCH_TRUSTED_HOSTS=hosts)


def test_settings_cannot_be_changed(source: Source) -> None:
    with pytest.raises(ValidationError):
        source().port = 1


def test_the_reference_lists_every_setting_with_its_default_and_meaning() -> None:
    rows = {}
    for line in REFERENCE.read_text().splitlines():
        if line.startswith("| `"):
            name, default, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            rows[name.strip("`")] = (default.strip("`"), meaning)
    wanted = {}
    for field in Settings.model_fields.values():
        default = "-" if field.default is None else str(field.default)
        if field.default is PydanticUndefined:
            default = "cores"
        wanted[field.alias] = (default, field.description)
    assert rows == wanted
    assert list(rows) == list(wanted)


def test_the_classic_threshold_may_be_any_distance_of_the_engine(source: Source) -> None:
    assert source(FACE_MATCH_THRESHOLD=str(DEFAULT_ENGINE.max_distance)).classic_threshold == 2.0
