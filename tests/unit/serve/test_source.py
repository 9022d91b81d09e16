"""Where a student comes from, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.errors import MtdError, StorageError
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from serve.source import default_name, student_folder


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("out/quickstart/student", "quickstart"),
        ("s3://bucket/team/runs/quickstart-1a2b/student/", "quickstart-1a2b"),
        ("s3://bucket/team/runs/quickstart-1a2b", "quickstart-1a2b"),
        ("/models/mine", "mine"),
        ("student", "student"),
    ],
)
def test_a_student_is_called_after_its_run_or_folder(place: str, name: str) -> None:
    assert default_name(place) == name


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MtdError, match="nowhere"), student_folder(str(tmp_path / "nowhere")):
        pass


def test_a_student_in_s3_is_fetched_by_its_run_or_its_own_url(s3_store: ObjectStore, exported: Path) -> None:
    publish_folder(s3_store, exported, "runs/one/student")
    names = {path.name for path in exported.iterdir()}
    for url in (f"{s3_store.url}/runs/one", f"{s3_store.url}/runs/one/student/"):
        with student_folder(url) as folder:
            assert {path.name for path in folder.iterdir()} == names
        assert not folder.exists()
    with pytest.raises(StorageError, match="runs/two"), student_folder(f"{s3_store.url}/runs/two"):
        pass
