"""The bucket: what is put comes back, and what breaks off leaves nothing."""

import hashlib
import socket
import uuid
from collections.abc import Iterator

import boto3
import pytest
from pydantic import SecretStr

from db.errors import ObjectChangedError, ObjectMissingError, StorageUnavailableError
from db.object_client import ObjectClient, UnnameableKeyError
from db.settings import Settings
from db.storage import ObjectStore
from db.writing import PART_BYTES


@pytest.fixture
def store(stores: Settings) -> ObjectStore:
    return ObjectStore.from_settings(stores)


@pytest.fixture
def prefix() -> str:
    """A place in the bucket for one test."""
    return f"{uuid.uuid4()}/"


def chunks_of(size_bytes: int, chunk_bytes: int = 64 * 1024) -> Iterator[bytes]:
    block = bytes(range(256)) * (chunk_bytes // 256)
    for start in range(0, size_bytes, chunk_bytes):
        yield block[: min(chunk_bytes, size_bytes - start)]


def client_of(stores: Settings):
    return boto3.client(
        "s3",
        endpoint_url=stores.s3_endpoint_url.get_secret_value(),
        aws_access_key_id=stores.aws_access_key_id,
        aws_secret_access_key=stores.aws_secret_access_key.get_secret_value(),
        region_name=stores.aws_region,
    )


def part_uploads(stores: Settings, prefix: str) -> list[str]:
    """Part uploads below `prefix` that are not finished, as S3 itself sees them."""
    found = client_of(stores).list_multipart_uploads(Bucket=stores.s3_bucket, Prefix=prefix)
    return [one["Key"] for one in found.get("Uploads", [])]


@pytest.mark.parametrize(
    "size_bytes",
    [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 7],
)
def test_what_is_put_comes_back_with_its_hash(
    store: ObjectStore, stores: Settings, prefix: str, size_bytes: int
) -> None:
    wanted = b"".join(chunks_of(size_bytes))
    stored = store.put(f"{prefix}0", chunks_of(size_bytes))
    assert (stored.key, stored.size_bytes) == (f"{prefix}0", size_bytes)
    assert stored.sha256 == hashlib.sha256(wanted).digest()
    assert store.get(stored.key) == wanted
    assert part_uploads(stores, prefix) == []


def test_a_chunk_larger_than_a_part_is_cut(store: ObjectStore, prefix: str) -> None:
    data = b"x" * (2 * PART_BYTES + 1)
    assert store.put(f"{prefix}0", [data]).sha256 == hashlib.sha256(data).digest()
    assert store.get(f"{prefix}0") == data


def test_a_large_photo_is_on_its_way_before_it_has_been_read(
    store: ObjectStore, stores: Settings, prefix: str
) -> None:
    seen: list[list[str]] = []

    def chunks() -> Iterator[bytes]:
        yield from chunks_of(PART_BYTES + 1)
        seen.append(part_uploads(stores, prefix))
        yield b"end"

    store.put(f"{prefix}0", chunks())
    assert seen == [[f"{prefix}0"]]


@pytest.mark.parametrize("size_bytes", [10, 2 * PART_BYTES])
def test_a_photo_that_breaks_off_leaves_nothing(
    store: ObjectStore, stores: Settings, prefix: str, size_bytes: int
) -> None:
    def breaking() -> Iterator[bytes]:
        yield from chunks_of(size_bytes)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put(f"{prefix}0", breaking())
    assert list(store.keys(prefix)) == []
    assert part_uploads(stores, prefix) == []


def test_part_uploads_that_nobody_finished_are_aborted_below_their_prefix_alone(
    store: ObjectStore, stores: Settings, prefix: str
) -> None:
    other = f"{uuid.uuid4()}/"

    # As a process leaves them that dies in the middle of a photo.
    for key in (f"{prefix}0", f"{other}0"):
        client_of(stores).create_multipart_upload(Bucket=stores.s3_bucket, Key=key)
    store.abort_uploads(prefix)
    assert part_uploads(stores, prefix) == []
    assert part_uploads(stores, other) == [f"{other}0"]
    store.abort_uploads(other)


def test_keys_are_listed_by_prefix(store: ObjectStore, prefix: str) -> None:
    for name in ("1", "10", "2", "sub/3"):
        store.put(prefix + name, [b"x"])
    store.put(f"{uuid.uuid4()}/0", [b"x"])
    assert sorted(store.keys(prefix)) == [prefix + name for name in ("1", "10", "2", "sub/3")]


def test_deleting_is_final_and_may_be_repeated(store: ObjectStore, prefix: str) -> None:
    keys = [f"{prefix}{n}" for n in range(3)]
    for key in keys:
        store.put(key, [b"x"])
    store.delete([keys[0], f"{prefix}absent", keys[2]])
    assert list(store.keys(prefix)) == [keys[1]]
    store.delete(keys)
    with pytest.raises(ObjectMissingError):
        store.get(keys[0])


def changed(stores: Settings, **update: object) -> ObjectStore:
    return ObjectStore.from_settings(stores.model_copy(update=update))


def test_a_missing_object_is_final_and_a_missing_bucket_is_not(
    store: ObjectStore, stores: Settings, prefix: str
) -> None:
    with pytest.raises(ObjectMissingError):
        store.get(f"{prefix}absent")
    gone = changed(stores, s3_bucket="no-such-bucket-here")
    with pytest.raises(StorageUnavailableError):
        gone.get(f"{prefix}absent")
    with pytest.raises(StorageUnavailableError, match="does not exist"):
        gone.ping()
    store.ping()


def test_wrong_keys_are_no_missing_object(stores: Settings, prefix: str) -> None:
    stranger = changed(stores, aws_secret_access_key=SecretStr("wrong"))
    for ask in (
        lambda: stranger.get(f"{prefix}absent"),
        lambda: stranger.put(f"{prefix}0", [b"x"]),
        stranger.ping,
    ):
        with pytest.raises(StorageUnavailableError):
            ask()


def test_a_server_that_is_away_is_unavailable(stores: Settings, prefix: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        away = changed(stores, s3_endpoint_url=SecretStr(url))
        for ask in (
            lambda: away.get(f"{prefix}0"),
            lambda: away.put(f"{prefix}0", [b"x" * (PART_BYTES + 1)]),
            lambda: list(away.keys(prefix)),
            lambda: away.delete([f"{prefix}0"]),
            lambda: away.abort_uploads(prefix),
            away.ensure_bucket,
            away.ping,
        ):
            with pytest.raises(StorageUnavailableError):
                ask()


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_bucket_is_made_once_in_whatever_region(stores: Settings, region: str) -> None:
    new = changed(stores, s3_bucket=f"new-{uuid.uuid4()}", aws_region=region)
    with pytest.raises(StorageUnavailableError):
        new.ping()
    new.ensure_bucket()
    new.ensure_bucket()
    new.ping()


def test_the_environments_proxy_is_not_asked_for_loopback(
    stores: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    ObjectStore.from_settings(stores).ping()


def test_a_span_of_an_object_is_read(store: ObjectStore, prefix: str) -> None:
    store.put(f"{prefix}0", [b"0123456789"])
    assert store.get(f"{prefix}0", span=(2, 3)) == b"234"
    assert store.get(f"{prefix}0", span=(8, 100)) == b"89"
    assert store.get(f"{prefix}0", span=(10, 5)) == b""


def test_an_object_that_was_replaced_is_not_the_one_that_was_listed(
    store: ObjectStore, stores: Settings, prefix: str
) -> None:
    key = f"{prefix}0"
    store.put(key, [b"one"])
    etag = client_of(stores).head_object(Bucket=stores.s3_bucket, Key=key)["ETag"]
    assert store.get(key, etag=etag) == b"one"
    store.put(key, [b"another"])
    with pytest.raises(ObjectChangedError):
        store.get(key, etag=etag)


@pytest.mark.parametrize("name", ["a//b", "a b+c%20é.jpg", "tab\there"])
def test_keys_that_are_no_plain_paths_are_read(
    store: ObjectStore, stores: Settings, prefix: str, name: str
) -> None:
    client_of(stores).put_object(Bucket=stores.s3_bucket, Key=prefix + name, Body=b"x" * 100)
    assert store.get(prefix + name) == b"x" * 100
    assert store.get(prefix + name, span=(1, 2)) == b"xx"


def test_a_bucket_of_somebody_else_that_is_not_there_is_no_fault_of_ours(
    store: ObjectStore,
) -> None:
    with pytest.raises(ObjectMissingError):
        store.get("a", bucket="nobody-has-this-bucket")


def test_the_local_bucket_is_read_without_the_proxy_of_the_environment(
    stores: Settings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = ObjectStore.from_settings(stores)
    store.put(f"{prefix}0", [b"x"])
    assert store.get(f"{prefix}0") == b"x"


@pytest.mark.parametrize("key", ["a/", "/a"])
def test_the_fast_reader_never_takes_one_key_for_another(
    stores: Settings, store: ObjectStore, key: str
) -> None:
    store.put("a", [b"x"])
    with pytest.raises(UnnameableKeyError):
        ObjectClient.from_settings(stores, direct=True).get(key, bucket=None, etag=None, span=None)
