from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mtd_ray import objects
from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore


def test_what_is_put_is_got(local_store: ObjectStore) -> None:
    local_store.put("a/b.json", b"one")
    local_store.put("a/b.json", b"two")
    local_store.put("empty", b"")
    assert local_store.get("a/b.json") == b"two"
    assert local_store.find("empty") == b""
    assert local_store.exists("a/b.json")


def test_what_is_not_there(local_store: ObjectStore) -> None:
    assert local_store.find("a") is None
    assert not local_store.exists("a")
    assert list(local_store.list("a")) == []
    local_store.delete("a")
    with pytest.raises(StorageError, match="no such object"):
        local_store.get("a")


def test_only_the_first_create_writes(local_store: ObjectStore) -> None:
    assert local_store.create("k", b"first")
    assert not local_store.create("k", b"second")
    assert local_store.get("k") == b"first"


def test_one_of_many_creates_at_once_writes(local_store: ObjectStore) -> None:
    barrier, won = threading.Barrier(16), list[bytes]()

    def create(data: bytes) -> None:
        barrier.wait()
        if local_store.create("k", data):
            won.append(data)

    threads = [threading.Thread(target=create, args=(bytes([number]) * 1000,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [local_store.get("k")]


def test_list_is_by_whole_folders_and_relative(local_store: ObjectStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        local_store.put(key, b"x")
    listed = sorted(local_store.list("a"), key=lambda info: info.key)
    assert [(info.key, info.size) for info in listed] == [("a/1", 1), ("a/b/2", 1)]
    assert all(abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1) for info in listed)
    assert [info.key for info in local_store.child("a").list("b")] == ["b/2"]


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", "a/", "./a"])
def test_a_key_cannot_leave_the_store(local_store: ObjectStore, key: str) -> None:
    with pytest.raises(StorageError, match="plain relative path"):
        local_store.put(key, b"x")


def test_folders_go_up_and_come_down(local_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "from/sub").mkdir(parents=True)
    (tmp_path / "from/a.txt").write_bytes(b"a" * 100)
    (tmp_path / "from/sub/b c.txt").write_bytes(b"b")
    local_store.upload_folder(tmp_path / "from", "model")
    local_store.download_folder("model", tmp_path / "to")
    assert (tmp_path / "to/a.txt").read_bytes() == b"a" * 100
    assert (tmp_path / "to/sub/b c.txt").read_bytes() == b"b"


def test_a_store_survives_pickling(local_store: ObjectStore) -> None:
    local_store.put("k", b"v")
    assert pickle.loads(pickle.dumps(local_store)).get("k") == b"v"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("relative/folder", "not absolute"),
        ("gs3://bucket", "unknown scheme 'gs3'"),
        ("/proc/no/such", "cannot be made"),
    ],
)
def test_a_wrong_url_is_refused_at_once(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        ObjectStore(url)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.usefixtures("keys")
def test_an_endpoint_that_is_not_there_is_reported_soon() -> None:
    started = time.monotonic()
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9\) cannot be reached") as caught:
        ObjectStore("s3://bucket/prefix", endpoint="http://127.0.0.1:9").create("k", b"v")
    assert time.monotonic() - started < 10
    assert "very-secret" not in str(caught.value)


@pytest.mark.usefixtures("keys")
def test_a_thread_that_another_overtakes_reaches_the_endpoint_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Overtaken(ObjectStore):
        """Another thread is done with the probe as soon as this one has seen it."""

        left: object = None

        @property
        def _probe(self) -> object:
            seen, self.left = self.left, None
            return seen

        @_probe.setter
        def _probe(self, probe: object) -> None:
            self.left = probe

    probes: list[object] = []
    monkeypatch.setattr(objects, "reach", lambda probe, *_: probes.append(probe))
    store = Overtaken("s3://bucket", endpoint="http://127.0.0.1:9")
    assert store._store is not None
    assert len(probes) == 1
    assert None not in probes


@pytest.mark.slow
@pytest.mark.usefixtures("keys")
def test_an_endpoint_that_never_answers_is_reported_soon(silent_endpoint: str) -> None:
    started = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached"):
        ObjectStore("s3://bucket", endpoint=silent_endpoint).check()
    assert time.monotonic() - started < 13


@pytest.mark.usefixtures("keys")
def test_the_endpoint_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9"):
        ObjectStore("s3://bucket").check()


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("endpoint", ["localhost:9000", "127.0.0.1:9000", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(StorageError, match="is not a URL"):
        ObjectStore("s3://bucket", endpoint=endpoint)


def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no AWS credentials"):
        ObjectStore("s3://bucket")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match="nobody"):
        ObjectStore("s3://bucket")
