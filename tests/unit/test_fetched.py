"""Where a student is on this machine, and what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.errors import MtdError, StorageError
from mtd_ray.fetched import folder_content, student_content, student_folder
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from tests.tiny_export import tiny_export


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path / "cache"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MtdError, match="nowhere"):
        student_folder(str(tmp_path / "nowhere"))


def test_a_student_in_s3_is_fetched_once_by_its_run_or_its_own_url(s3_store: ObjectStore, tmp_path: Path) -> None:
    exported = tiny_export(tmp_path / "tiny", tmp_path / "bert")
    publish_folder(s3_store, exported, "runs/one/student")
    url = f"{s3_store.url}/runs/one"
    assert {path.name for path in student_folder(url).iterdir()} == {path.name for path in exported.iterdir()}
    assert student_folder(f"{url}/student/") == student_folder(url)
    with pytest.raises(StorageError, match="runs/two"):
        student_folder(f"{s3_store.url}/runs/two")


def test_a_student_is_the_same_wherever_it_is(s3_store: ObjectStore, tmp_path: Path) -> None:
    exported = tiny_export(tmp_path / "tiny", tmp_path / "bert")
    publish_folder(s3_store, exported, "runs/one/student")
    url = f"{s3_store.url}/runs/one"
    content = student_content(url)
    assert content == student_content(str(exported)) == folder_content(student_folder(url))
    publish_folder(s3_store, tiny_export(tmp_path / "other", tmp_path / "other-bert", seed=5), "runs/one/student")
    assert student_content(url) != content
