"""Where sources may lie: in a tenant's own folder, and where the operator allows it."""

import uuid

import pytest

from db.allowed import Places
from db.errors import SourceNotAllowedError
from db.settings import Settings, SettingsError, load_settings


def settings(sources: str) -> Settings:
    return load_settings({"FACEBATCH_SOURCES": sources, "S3_BUCKET": "ours"}, dotenv=None)


def places(sources: str = "") -> Places:
    return Places.of(settings(sources), "ada")


@pytest.mark.parametrize("key", ["sources/ada/a.jpg", "sources/ada/", "sources/ada/b/..c/d.jpg"])
def test_a_tenants_own_folder_is_its_own(key: str) -> None:
    assert places().hold("ours", key)
    assert not places().hold("other", key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "sources/",
        "sources/ada",
        "sources/eve/a.jpg",
        "sources/adam/a.jpg",
        "sources/ada/../eve/a.jpg",
        "sources/ada/./a.jpg",
        "sources/ada/..",
        "/sources/ada/a.jpg",
        "01a21232-ddf3-7b54-8c39-c5f0df4f8c3e/0",
    ],
)
def test_nothing_else_of_our_bucket_is(key: str) -> None:
    assert not places().hold("ours", key)
    with pytest.raises(SourceNotAllowedError, match=r"s3://ours/sources/ada/"):
        places().require("ours", key)


def test_an_operator_allows_buckets_and_folders() -> None:
    allowed = places("*=s3://whole  ada=s3://part/folder *=s3://ours/incoming/")
    assert allowed.hold("whole", "any/key")
    assert allowed.hold("part", "folder/a.jpg")
    assert not allowed.hold("part", "folder-else/a.jpg")
    assert allowed.hold("ours", "incoming/a.jpg")


def test_a_place_is_for_the_tenant_that_it_names_and_else_for_this_machine() -> None:
    urls = "s3://plain eve=s3://eves *=s3://all ada=s3://adas/a=s3://b/"
    held = {
        bucket: {
            who
            for who in ("ada", "eve", "local")
            if Places.of(settings(urls), who).hold(bucket, "a=s3://b/c.jpg")
        }
        for bucket in ("plain", "eves", "all", "adas")
    }
    assert held == {
        "plain": {"local"},
        "eves": {"eve"},
        "all": {"ada", "eve", "local"},
        "adas": {"ada"},
    }


def test_our_own_objects_are_nobodys_source_whatever_is_allowed() -> None:
    allowed = places("*=s3://ours")
    assert allowed.hold("ours", "any/key")
    for folder in (str(uuid.uuid4()), uuid.uuid4().hex, str(uuid.uuid4()).upper()):
        assert not allowed.hold("ours", f"{folder}/0")
    assert places("*=s3://whole").hold("whole", f"{uuid.uuid4()}/0")


@pytest.mark.parametrize(
    "sources",
    ["bucket/folder", "s3://", "s3://A", "https://s3/b", "s3://a_b", "=s3://b", "a/b=s3://bucket"],
)
def test_a_place_that_is_none_is_refused(sources: str) -> None:
    with pytest.raises(SettingsError, match="FACEBATCH_SOURCES"):
        places(sources)
