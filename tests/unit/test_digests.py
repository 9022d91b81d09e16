"""Digests of files are kept for as long as the files stay as they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mtd_ray import digests


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path / "cache"))


def written(path: Path, content: bytes, *, seconds: int) -> Path:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    return path


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [written(tmp_path / name, name.encode(), seconds=1_000) for name in ("a", "b")]
    expected = [hashlib.sha256(name).hexdigest() for name in (b"a", b"b")]
    assert digests.sha256_of(paths) == expected
    digests._known.cache_clear()  # as in another process
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert digests.sha256_of(paths) == expected
    written(paths[0], b"c", seconds=2_000)
    assert digests.sha256_of(paths) == [hashlib.sha256(b"c").hexdigest(), expected[1]]


def test_a_damaged_record_and_a_cache_that_cannot_be_written_cost_a_reading(tmp_path: Path) -> None:
    path = written(tmp_path / "a", b"a", seconds=1_000)
    first = digests.sha256_of([path])
    (record,) = (tmp_path / "cache").rglob("*.json")
    record.write_text("[]")
    digests._known.cache_clear()
    assert digests.sha256_of([path]) == first
    record.unlink()
    record.parent.rmdir()
    record.parent.write_text("a file is in the way")
    digests._known.cache_clear()
    assert digests.sha256_of([path]) == first


def test_a_file_that_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    digests.sha256_of([path])
    assert not list((tmp_path / "cache").rglob("*.json"))
