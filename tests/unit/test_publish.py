"""A published folder is whole or not there; its card alone may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import fetch_folder, is_published, publish_folder, published_files, put_card


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


def test_published_folder_comes_back(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    publish_folder(local_store, small, "runs/a/student")
    fetch_folder(local_store, "runs/a/student", tmp_path / "fetched")
    assert files(tmp_path / "fetched") == files(small)


def test_files_of_an_earlier_version_stay_out(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    local_store.put("runs/a/student/old.bin", b"left over")
    publish_folder(local_store, small, "runs/a/student")
    fetch_folder(local_store, "runs/a/student", tmp_path / "fetched")
    assert files(tmp_path / "fetched") == files(small)


def test_a_sharded_export_leaves_no_single_file_behind(small: Path, local_store: ObjectStore) -> None:
    (small / "model.safetensors").write_bytes(b"old backbone")
    publish_folder(local_store, small, "s")
    (small / "model.safetensors").unlink()
    (small / "model-00001-of-00001.safetensors").write_bytes(b"new backbone")
    local_store.put("so/other", b"of another prefix")
    publish_folder(local_store, small, "s")
    assert sorted(info.key for info in local_store.list()) == [
        "s/1_Pooling/config.json", "s/manifest.json", "s/model-00001-of-00001.safetensors", "s/modules.json", "so/other",
    ]  # fmt: skip


def test_changed_local_copy_is_renewed(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    publish_folder(local_store, small, "s")
    fetch_folder(local_store, "s", tmp_path / "fetched")
    (tmp_path / "fetched" / "modules.json").write_text("changed")
    fetch_folder(local_store, "s", tmp_path / "fetched")
    assert files(tmp_path / "fetched") == files(small)


def test_damaged_object_is_refused(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    publish_folder(local_store, small, "s")
    local_store.put("s/modules.json", b"damaged")
    with pytest.raises(StorageError, match=r"s/modules\.json is not what was published"):
        fetch_folder(local_store, "s", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_interrupted_publication_is_not_a_model(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    local_store.upload_folder(small, "s")
    assert not is_published(local_store, "s")
    with pytest.raises(StorageError, match="no published model"):
        fetch_folder(local_store, "s", tmp_path / "fetched")


def test_card_is_written_again_without_unpublishing(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    (small / "README.md").write_text("no results yet")
    publish_folder(local_store, small, "s")
    before = published_files(local_store, "s")
    fetch_folder(local_store, "s", tmp_path / "fetched")
    put_card(local_store, "s", "82.03 on STSBenchmark")
    assert published_files(local_store, "s") == before
    assert set(before) == {"modules.json", "1_Pooling/config.json"}
    for folder in (tmp_path / "fetched", tmp_path / "again"):
        fetch_folder(local_store, "s", folder)
        assert (folder / "README.md").read_text() == "82.03 on STSBenchmark"


def test_a_whole_copy_keeps_its_files_when_the_card_changes(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    publish_folder(local_store, small, "s")
    fetch_folder(local_store, "s", tmp_path / "fetched")
    before = (tmp_path / "fetched" / "modules.json").stat().st_ino
    put_card(local_store, "s", "new")
    fetch_folder(local_store, "s", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "modules.json").stat().st_ino == before
    assert (tmp_path / "fetched" / "README.md").read_text() == "new"


def test_card_of_an_earlier_folder_does_not_stay(small: Path, local_store: ObjectStore, tmp_path: Path) -> None:
    put_card(local_store, "s", "of another student")
    publish_folder(local_store, small, "s")
    fetch_folder(local_store, "s", tmp_path / "fetched")
    assert files(tmp_path / "fetched") == files(small)
