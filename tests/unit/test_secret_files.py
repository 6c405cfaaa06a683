"""Secrets are read from files that settings name, and what is wrong with a file is said by name."""

import os
from pathlib import Path

import pytest

from cli.stack.app_parts import settings_environ
from db.secret_files import SECRET_NAMES
from db.settings import Settings, SettingsError, load_settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
GOOD = {
    "DATABASE_URL": "postgresql://u:p@h/d",
    "REDIS_URL": "redis://:p@h:6379/0",
    "FACEBATCH_SECRET_KEY": "k" * 32,
    "FACEBATCH_API_KEY": "fb_live_x",
}


def _in_files(folder: Path, values: dict[str, str]) -> dict[str, str]:
    named = {}
    for name, value in values.items():
        (folder / name).write_text(value)
        named[f"{name}_FILE"] = str(folder / name)
    return named


def _shown(settings: Settings) -> dict[str, object]:
    return {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
        for name, value in dict(settings).items()
    }


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["bare", "line", "windows"])
def test_a_secret_of_a_file_counts_as_if_it_were_set(tmp_path: Path, end: str) -> None:
    # The password alone goes with no URL: see below.
    values = {name: GOOD.get(name, f"value of {name}") for name in SECRET_NAMES - {"DB_PASSWORD"}}
    files = _in_files(tmp_path, {name: values[name] + end for name in values})
    assert _shown(load_settings(files, None)) == _shown(load_settings(values, None))


def test_the_password_of_a_database_in_parts_may_stand_in_a_file(tmp_path: Path) -> None:
    files = _in_files(tmp_path, {"DB_PASSWORD": " p/w \n"})
    assert (
        load_settings({"DB_HOST": "h", **files}, None).database
        == "postgresql://facebatch:%20p%2Fw%20@h:5432/facebatch"
    )


def test_a_file_of_the_environment_wins_over_a_value_of_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("REDIS_URL=redis://old:1/0\n")
    files = _in_files(tmp_path, {"REDIS_URL": GOOD["REDIS_URL"]})
    settings = load_settings(files, dotenv)
    assert settings.redis_url
    assert settings.redis_url.get_secret_value() == GOOD["REDIS_URL"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "the file cannot be read (No such file or directory)"),
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"\xff\xfe\x00", "the file is no text in UTF-8"),
    ],
    ids=["absent", "empty", "blank", "bytes"],
)
def test_a_file_that_gives_no_secret_is_refused_by_name(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load_settings({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY_FILE": str(path)}, None)
    assert f"AWS_SECRET_ACCESS_KEY_FILE: {what}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "secret"),
    [("REDIS_URL", "redis://:hunter2@h:6379/0"), ("FACEBATCH_SECRET_KEY", "/hunter2/" * 5)],
)
def test_a_secret_in_place_of_its_file_is_not_shown(name: str, secret: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}_FILE: the file cannot be read") as refused:
        load_settings({f"{name}_FILE": secret}, None)
    assert "hunter2" not in str(refused.value)


def test_a_mark_of_the_encoding_is_no_part_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(GOOD["FACEBATCH_SECRET_KEY"], encoding="utf-8-sig")
    settings = load_settings({"FACEBATCH_SECRET_KEY_FILE": str(path)}, None)
    assert settings.secret_key
    assert settings.secret_key.get_secret_value() == GOOD["FACEBATCH_SECRET_KEY"]


def test_a_value_of_the_environment_wins_over_a_file_of_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("REDIS_URL_FILE=/nowhere\n")
    settings = load_settings({"REDIS_URL": GOOD["REDIS_URL"]}, dotenv)
    assert settings.redis_url
    assert settings.redis_url.get_secret_value() == GOOD["REDIS_URL"]


def test_a_secret_and_a_file_for_it_are_not_both_taken(tmp_path: Path) -> None:
    files = _in_files(tmp_path, {"REDIS_URL": GOOD["REDIS_URL"]})
    with pytest.raises(SettingsError, match="REDIS_URL and REDIS_URL_FILE are both set"):
        load_settings({"REDIS_URL": "redis://h:1/0", **files}, None)


def test_what_is_wrong_with_a_secret_is_said_without_it(tmp_path: Path) -> None:
    files = _in_files(tmp_path, {"FACEBATCH_SECRET_KEY": "short secret"})
    with pytest.raises(SettingsError, match="FACEBATCH_SECRET_KEY") as refused:
        load_settings(files, None)
    assert "short secret" not in str(refused.value)


def test_a_name_one_slip_away_from_a_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean REDIS_URL_FILE"):
        load_settings({"REDIS_URLS_FILE": "/run/secrets/redis"}, None)


def test_a_part_of_the_stack_gets_the_secret_and_not_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = _in_files(tmp_path, {"REDIS_URL": GOOD["REDIS_URL"]})
    for name, value in files.items():
        monkeypatch.setenv(name, value)
    environ = settings_environ(load_settings(dict(os.environ), None))
    assert environ["REDIS_URL"] == GOOD["REDIS_URL"]
    assert load_settings(environ, None).redis_url
    assert "REDIS_URL_FILE" not in environ


def test_the_reference_names_every_secret_that_may_stand_in_a_file() -> None:
    text = REFERENCE.read_text()
    assert all(f"`{name}_FILE`" in text for name in SECRET_NAMES)
