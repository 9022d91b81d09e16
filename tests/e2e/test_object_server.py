from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.object_server import ObjectServer


def _server_processes(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if f"-dir={folder / 'data'}" in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_the_server_keeps_its_data_and_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ObjectServer(tmp_path, bucket="texts")
    for content in (b"old", b"new"):
        with server:
            for name, value in server.env.items():
                monkeypatch.setenv(name, value)
            store = ObjectStore("s3://texts/a")
            assert store.create("k", content) == (content == b"old")
            assert store.get("k") == b"old"
            assert len(_server_processes(tmp_path)) == 2
        assert _server_processes(tmp_path) == []
    with pytest.raises(StorageError, match="not running"):
        _ = server.endpoint


def test_only_loopback_is_listened_on(object_server: ObjectServer) -> None:
    processes = _server_processes(object_server.folder)
    addresses = {c.laddr.ip for process in processes for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


def test_one_server_per_folder(object_server: ObjectServer) -> None:
    with pytest.raises(StorageError, match="in use by another S3 server"):
        ObjectServer(object_server.folder).start()


def test_a_taken_port_is_reported(object_server: ObjectServer, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ended while starting"):
        ObjectServer(tmp_path, port=int(object_server.endpoint.rsplit(":", 1)[1])).start()
    assert _server_processes(tmp_path) == []


def test_a_bucket_name_that_s3_refuses(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="bucket name 'B_1' is refused"):
        ObjectServer(tmp_path, bucket="B_1").start()
    assert _server_processes(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the server with its starter on Linux only")
def test_a_killed_starter_takes_the_server_with_it_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, sys\n"
        "from mtd_ray.objects import ObjectStore\n"
        "from mtd_ray.sandbox.object_server import ObjectServer\n"
        "os.environ.update(ObjectServer(sys.argv[1]).start().env)\n"
        "for number in range(20): ObjectStore('s3://mtd-ray').put(f'k{number}', bytes([number]) * 1000)\n"
        "os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, check=False
    )
    assert ended.returncode == -9
    psutil.wait_procs(_server_processes(tmp_path), timeout=10)
    assert _server_processes(tmp_path) == []

    with ObjectServer(tmp_path) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("s3://mtd-ray")
        assert [store.find(f"k{number}") for number in range(20)] == [bytes([number]) * 1000 for number in range(20)]


def test_one_of_many_creates_at_once_writes(s3_store: ObjectStore) -> None:
    for round_ in range(3):
        with ThreadPoolExecutor(12) as pool:
            wrote = list(pool.map(lambda number, key=f"k{round_}": s3_store.create(key, bytes([number]) * 5000), range(12)))
        assert s3_store.get(f"k{round_}") == bytes([wrote.index(True)]) * 5000
        assert wrote.count(True) == 1


def test_objects_on_s3(s3_store: ObjectStore) -> None:
    s3_store.check()
    for key in ("a/1", "a/b/2", "ab/3"):
        s3_store.put(key, key.encode())
    assert sorted(info.key for info in s3_store.list("a")) == ["a/1", "a/b/2"]
    s3_store.delete("a/1")
    s3_store.delete("a/1")
    assert s3_store.find("a/1") is None
    assert not s3_store.exists("a/1")
    assert s3_store.exists("a/b/2")
    with pytest.raises(StorageError, match=r"a/1: there is no such object"):
        s3_store.get("a/1")


def test_big_files_are_streamed(s3_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    with (tmp_path / "from/big").open("wb") as file:
        for number in range(40):
            file.write(bytes([number]) * 1_000_003)
    s3_store.upload_folder(tmp_path / "from", "model")
    s3_store.download_folder("model", tmp_path / "to")
    assert (tmp_path / "to/big").read_bytes() == (tmp_path / "from/big").read_bytes()


@pytest.mark.usefixtures("s3_env")
def test_a_missing_bucket_is_named_and_not_made() -> None:
    store = ObjectStore("s3://no-such-bucket/x")
    for attempt in (store.check, lambda: store.put("k", b""), lambda: store.create("k", b""), lambda: store.find("k")):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/x.*the bucket does not exist"):
            attempt()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.usefixtures("s3_env")
def test_wrong_keys_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "wrong")
    store = ObjectStore("s3://mtd-ray/x")
    for attempt in (store.check, lambda: store.put("k", b""), lambda: store.exists("k"), lambda: store.find("k")):
        with pytest.raises(StorageError, match="access was refused"):
            attempt()


def test_an_outage_is_waited_out_by_a_store_that_has_been_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ObjectServer(tmp_path, secret_key="same-after-the-outage") as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        store = ObjectStore("s3://mtd-ray")
        store.put("k", b"v")
        port = int(server.endpoint.rsplit(":", 1)[1])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(store.get, "k")
        with ObjectServer(tmp_path, port=port, secret_key="same-after-the-outage"):
            assert answer.result(timeout=90) == b"v"
