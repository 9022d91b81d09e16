"""Jasper at its true size on a CPU, run by hand: ``pytest -m by_hand tests/unit/test_recipes_true_size.py``; needs 12 GB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Qwen2Config

from mtd_ray.config import Recipe, load_recipe
from mtd_ray.distill.data.feed import stage_batches
from mtd_ray.distill.fusion import TargetSpec
from mtd_ray.distill.plain import PlainEngine
from mtd_ray.distill.step import Distillation, training_step
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student
from tests.tiny_models import tiny_tokenizer
from tests.tiny_run import store_run

RECIPE = Path(__file__).parents[2] / "recipes" / "jasper.yaml"


def true_size_folder(folder: Path) -> str:
    """Config of the 1.5B Qwen2 family, with a small tokenizer, and no weights."""
    Qwen2Config(
        vocab_size=151_646,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
    ).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def small_batches(model: str, store: ObjectStore) -> Recipe:
    """The recipe with random weights, and batches that a CPU can take; every size is as it is."""
    tree: dict[str, Any] = load_recipe(RECIPE, ["export.accept_non_commercial=true"]).model_dump(mode="json")
    tree["storage"] = {"url": store.url}
    tree["harvest"]["part_rows"] = 16
    tree["student"] |= {"model": model, "revision": None, "init": "random", "max_tokens": 32}
    tree["stages"][0] |= {"steps": 2, "batch_size": 8, "warmup_steps": 0}
    return Recipe.model_validate_json(json.dumps(tree))


@pytest.mark.by_hand
@pytest.mark.timeout(1800)
def test_the_first_stage_of_jasper_learns_at_its_true_size(tmp_path: Path, local_store: ObjectStore) -> None:
    recipe = small_batches(true_size_folder(tmp_path), local_store)
    stage = recipe.stages[0]
    manifest = store_run(local_store, recipe, rows=24)
    student = Student.build(recipe.student, recipe.seed)
    assert sum(weights.numel() for weights in student.backbone.parameters()) > 1.5e9
    assert {int(size) for size in student.heads} == {12288, 1024, 512, 256}
    student.freeze(stage.parts[0][1], stage.heads)
    engine = PlainEngine(Distillation(student, stage, TargetSpec.of(recipe, stage, {}), recipe.train.micro_batch_tokens), stage)
    engine.set_learning_rate(stage.lr)
    with stage_batches(local_store, recipe, manifest, 0, steps=range(1), tokenizer=student.tokenizer) as batches:
        batch = next(batches)
    losses = [training_step(engine, batch, stage.name).loss for _ in range(stage.steps)]
    assert losses[-1] < losses[0]
