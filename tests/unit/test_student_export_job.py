"""`jobs/export.py` on a machine without a cluster: the folder that was measured goes where it is sent."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from mtd_ray import layout
from mtd_ray.card import ModelCard
from mtd_ray.config import Recipe, load_recipe
from mtd_ray.errors import RecipeError, StorageError
from mtd_ray.export import export_student, exported_dtype
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.student import Student
from tests.tiny_models import tiny_bert

JOB = Path(__file__).resolve().parents[2] / "jobs" / "export.py"
MANIFEST: Any = SimpleNamespace(content="c0ffee", rows=30, pairs_sha256={})
RECIPE = """
name: sent
storage: {store}
corpus: {{source: {{format: jsonl, path: /texts.jsonl}}}}
teachers:
  paid: {{provider: cohere, model: embed-v4.0, dimensions: 256, api_key: env:KEY_THAT_IS_NOT_SET, license: cc-by-nc-4.0}}
student: {{model: {model}, heads: [8], max_tokens: 40}}
stages:
  - {{name: all, heads: {{8: {{similarity: 200}}}}, lr: 1e-4, steps: 5, batch_size: 8}}
evaluate: {{heldout: false}}
"""


@pytest.fixture
def recipe_file(tmp_path: Path, local_store: ObjectStore) -> Path:
    (tmp_path / "base").mkdir()
    path = tmp_path / "sent.yaml"
    path.write_text(RECIPE.format(store=local_store.url, model=tiny_bert(tmp_path / "base")))
    return path


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(recipe_file, ["export.accept_non_commercial=true"])


def run(recipe_file: Path, to: Path, *flags: str) -> None:
    runpy.run_path(str(JOB))["main"]([str(recipe_file), "--to", str(to), *flags])


def publish(recipe: Recipe, store: ObjectStore, folder: Path) -> None:
    export_student(Student.build(recipe.student, seed=1), folder, card=ModelCard.of(recipe, MANIFEST))
    publish_folder(store, folder, layout.run_student(recipe.run_name))


def test_terms_come_before_everything_else(recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"teachers\.paid\.license: cc-by-nc-4\.0 does not allow commercial use"):
        run(recipe_file, tmp_path / "out")


def test_a_run_that_is_not_exported_is_said(recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no published model"):
        run(recipe_file, tmp_path / "out", "--accept-non-commercial")


def test_the_measured_folder_arrives(
    recipe_file: Path, recipe: Recipe, local_store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(recipe, local_store, tmp_path / "student")
    run(recipe_file, tmp_path / "out", "--accept-non-commercial")
    assert f"exported  {tmp_path}/out" in capsys.readouterr().out
    assert SentenceTransformer(str(tmp_path / "out"), device="cpu").encode("a").shape == (8,)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path / "student", tmp_path / "out")]
    assert weights[0] == weights[1]
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'SentenceTransformer("FOLDER")' in card
    assert str(tmp_path) not in card
    assert "README.md" not in json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]


def test_another_dtype_is_made_from_the_checkpoint(
    recipe_file: Path, recipe: Recipe, local_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(recipe, local_store, tmp_path / "student")
    job = runpy.run_path(str(JOB))
    monkeypatch.setitem(job["main"].__globals__, "final_student", lambda *_: Student.build(recipe.student, seed=1))
    job["main"]([str(recipe_file), "--to", f"{tmp_path}/out", "--dtype", "bfloat16", "--accept-non-commercial"])
    assert exported_dtype(tmp_path / "out") == "bfloat16"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "stored in bfloat16; those that were measured are stored in float32" in card
    assert "A plain load computes in bfloat16" in card
