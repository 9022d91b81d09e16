from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtd_ray.embed.inputs import find_inputs
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a.parquet", "b.parquet", "year=2025/a.parquet", "deep/er/c.jsonl.gz", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a", "b", "deep/er/c", "year=2025/a"]),
        ("a.parquet", ["a"]),
        ("*.parquet", ["a", "b"]),
        ("[!a].parquet", ["b"]),
        ("year=*/?.parquet", ["year=2025/a"]),
        ("**/*.parquet", ["a", "b", "year=2025/a"]),
        ("deep/**/*.gz", ["er/c"]),
    ],
)
def test_what_a_path_or_pattern_stands_for(files: Path, pattern: str, names: list[str]) -> None:
    assert sorted(found.name for found in find_inputs(str(files / pattern))) == names


def test_a_name_that_exists_is_no_pattern(tmp_path: Path, s3_store: ObjectStore) -> None:
    for name in ("docs [2024]/a[1].parquet", "docs [2024]/b.parquet", "docs 2/c.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        s3_store.put(name, b"x")
    for place in (str(tmp_path), s3_store.url):
        assert [found.name for found in find_inputs(f"{place}/docs [2024]")] == ["a[1]", "b"]
        assert [found.name for found in find_inputs(f"{place}/docs [2024]/a[1].parquet")] == ["a[1]"]
        assert [found.name for found in find_inputs(f"{place}/docs [2024]/[b].parquet")] == ["b"]
        assert [found.name for found in find_inputs(f"{place}/docs [0-9]/*")] == ["docs 2/c"]


def test_the_same_on_s3(s3_store: ObjectStore) -> None:
    for key in ("docs/a.parquet", "docs/sub/b.parquet", "docs/c.jsonl"):
        s3_store.put(key, b"x")
    assert [found.name for found in find_inputs(f"{s3_store.url}/docs/*")] == ["a", "c"]
    (found,) = find_inputs(f"{s3_store.url}/docs/sub/b.parquet")
    assert (found.name, found.size) == ("b", 1)
    with found.open() as file:
        assert file.read() == b"x"
    s3_store.put("docs/sub/b.parquet", b"y")
    with pytest.raises(CorpusError, match="changed while it was embedded"):
        found.open()


def test_files_of_one_name_and_patterns_without_files_are_refused(files: Path) -> None:
    (files / "a.jsonl").write_bytes(b"{}")
    with pytest.raises(CorpusError, match=r"both become a\.parquet"):
        find_inputs(str(files))
    with pytest.raises(CorpusError, match="matches no file"):
        find_inputs(str(files / "z*.parquet"))


def test_a_file_that_was_written_again_is_another(files: Path) -> None:
    (before,) = find_inputs(str(files / "a.parquet"))
    os.utime(files / "a.parquet", ns=(1, 1))
    (after,) = find_inputs(str(files / "a.parquet"))
    assert before.tag != after.tag
