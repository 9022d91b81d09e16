"""Every recipe that ships is sound, and each of its stages trains what it says: its real structure at a 64th of its sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mtd_ray.config import LastLayers, Recipe, Trainable, load_recipe
from mtd_ray.distill.data.feed import stage_batches
from mtd_ray.distill.fusion import TargetSpec
from mtd_ray.distill.plain import PlainEngine
from mtd_ray.distill.schedule import learning_rate
from mtd_ray.distill.step import Distillation, StepResult, training_step
from mtd_ray.errors import RecipeError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student
from tests.tiny_models import tiny_bert, tiny_gte, tiny_qwen2
from tests.tiny_run import store_run

RECIPES = Path(__file__).parents[2] / "recipes"
FAMILIES = {
    "quickstart": (tiny_bert, 6),
    "continuum": (tiny_bert, 12),
    "jasper": (tiny_qwen2, 4),
    "stella-1.5b": (tiny_qwen2, 4),
    "stella-400m": (tiny_gte, 4),
}
# Read with the word without which a recipe is refused; everything else is as it ships.
OVERRIDES = {"jasper": ["export.accept_non_commercial=true"]}
SMALLER = 64
LAYER = re.compile(r"layers?\.(\d+)\.")


def recipe(name: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", OVERRIDES.get(name, ()))


def shrunk(real: Recipe, model: str, store: ObjectStore) -> Recipe:
    """The recipe with sizes divided, few and fast steps, and a tiny student; stages, heads, losses and freezing as they are."""
    tree: dict[str, Any] = real.model_dump(mode="json")
    tree["storage"] = {"url": store.url}
    tree["harvest"]["part_rows"] = 16
    tree["student"] |= {"model": model, "revision": None, "max_tokens": 32, "default_head": None}
    tree["student"]["heads"] = [size // SMALLER for size in real.student.heads]
    for teacher in tree["teachers"].values():
        for key in ("dimensions", "target_dimensions"):
            teacher[key] = teacher[key] and teacher[key] // SMALLER
    for stage, given in zip(tree["stages"], real.stages, strict=True):
        stage |= {"steps": 2 * len(given.parts), "batch_size": 8, "warmup_steps": 1, "lr": 1e-2}
        stage["heads"] = {size // SMALLER: stage["heads"][str(size)] for size in given.heads}
    return Recipe.model_validate_json(json.dumps(tree))


def test_each_recipe_in_the_folder_is_tested() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recipe_loads_and_states_every_licence(name: str) -> None:
    loaded = recipe(name)
    assert loaded.name == name
    assert loaded.student.license
    assert all(teacher.license for teacher in loaded.teachers.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_stage_trains_what_it_says(name: str, tmp_path: Path, local_store: ObjectStore) -> None:
    build, layers = FAMILIES[name]
    tiny = shrunk(recipe(name), build(tmp_path, layers=layers), local_store)
    manifest = store_run(local_store, tiny, rows=60)
    student = Student.build(tiny.student, tiny.seed)
    depth = len(tiny.student.layers or range(layers))
    for index, stage in enumerate(tiny.stages):
        ends = [begin for begin, _ in stage.parts[1:]] + [stage.steps]
        for (begin, trainable), end in zip(stage.parts, ends, strict=True):
            before = {key: value.detach().clone().to(torch.bfloat16) for key, value in student.named_parameters()}
            for result in steps(tiny, index, trainable, range(begin, end), student, local_store, manifest):
                assert result.parts.keys() == expected_parts(tiny, index)
                assert result.gradient_norm > 0
            assert trained(before, student) == expected_training(trainable, set(stage.heads), depth), (stage.name, trainable)


def steps(
    tiny: Recipe, index: int, trainable: Trainable, which: range, student: Student, store: ObjectStore, manifest: Any
) -> Iterator[StepResult]:
    stage = tiny.stages[index]
    student.float().freeze(trainable, stage.heads)
    module = Distillation(student, stage, TargetSpec.of(tiny, stage, {}), tiny.train.micro_batch_tokens)
    engine = PlainEngine(module, stage, dtype=tiny.train.dtype)
    with stage_batches(store, tiny, manifest, index, steps=which, tokenizer=student.tokenizer) as batches:
        for step, batch in zip(which, batches, strict=True):
            engine.set_learning_rate(learning_rate(stage, step))
            yield training_step(engine, batch, stage.name)


def expected_parts(tiny: Recipe, index: int) -> set[str]:
    stage = tiny.stages[index]
    parts = {f"{head}/{loss}" for head, losses in stage.heads.items() for loss in losses.weights}
    for head in stage.heads:
        placed = {teacher for teacher, _ in tiny.head_layout(stage, head) or ()}
        parts |= {f"{head}/cosine/{teacher}" for teacher in placed & set(tiny.stage_teachers(stage))}
    return parts


def trained(before: dict[str, Tensor], student: Student) -> set[str]:
    """Numbers of the layers and sizes of the heads whose weights changed, and ``rest`` for what is neither."""
    changed = {key for key, value in student.named_parameters() if not torch.equal(before[key], value.detach().to(torch.bfloat16))}
    found = set()
    for key in changed:
        layer = LAYER.search(key)
        found.add(f"layer {layer[1]}" if layer else f"head {key.split('.')[1]}" if key.startswith("heads.") else "rest")
    return found


def expected_training(trainable: Trainable, heads: set[int], depth: int) -> set[str]:
    first = {"heads": depth, "all": 0}[trainable] if isinstance(trainable, str) else depth
    if isinstance(trainable, LastLayers):
        first = depth - trainable.last
    layers = {f"layer {number}" for number in range(first, depth)}
    return layers | {f"head {size}" for size in heads} | ({"rest"} if trainable == "all" else set())


def test_jasper_is_as_published() -> None:
    jasper = recipe("jasper")
    everything = {"cosine": 10.0, "similarity": 200.0, "ranking": 20.0}
    similarities = {"similarity": 200.0, "ranking": 20.0}
    told = [
        (stage.trainable, stage.lr, stage.steps, {head: losses.weights for head, losses in stage.heads.items()})
        for stage in jasper.stages
    ]
    assert told == [
        ("heads", 1e-4, 4000, {12288: everything}),
        (LastLayers(last=3), 8e-5, 7000, {12288: everything}),
        ("all", 7e-5, 2200, {12288: everything, 1024: similarities, 512: similarities, 256: similarities}),
    ]
    assert {stage.ranking_margin for stage in jasper.stages} == {0.015}
    assert [(name, jasper.teachers[name].dimensions) for name in jasper.used_teachers] == [("nv_embed", 4096), ("stella", 8192)]


@pytest.mark.parametrize("name", ["stella-1.5b", "stella-400m"])
def test_stella_has_its_sizes_and_prompts(name: str) -> None:
    student = recipe(name).student
    assert student.heads == (256, 768, 1024, 2048, 4096, 6144, 8192)
    assert student.export_head == 1024
    search = "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: "
    similar = "Instruct: Retrieve semantically similar text.\nQuery: "
    assert (student.prompts["s2p_query"], student.prompts["s2s_query"]) == (search, similar)


def test_both_stellas_learn_from_one_harvest() -> None:
    large, small = recipe("stella-1.5b"), recipe("stella-400m")
    assert (large.storage, large.corpus, large.teachers) == (small.storage, small.corpus, small.teachers)


def test_continuum_keeps_a_place_for_every_teacher() -> None:
    continuum = recipe("continuum")
    assert [continuum.stage_teachers(stage) for stage in continuum.stages] == [
        ("openai",), ("openai", "cohere"), ("openai", "cohere", "voyage"), ("openai", "cohere", "voyage"),
    ]  # fmt: skip
    for stage in continuum.stages:
        for head in stage.heads:
            assert continuum.head_layout(stage, head) == (("openai", head // 2), ("cohere", head // 4), ("voyage", head // 4))
    assert continuum.harvest.budget_usd


def test_a_student_of_a_non_commercial_teacher_is_refused_until_that_is_known() -> None:
    with pytest.raises(
        RecipeError, match=r"teachers\.nv_embed\.license: cc-by-nc-4\.0 .* write export\.accept_non_commercial: true"
    ):
        load_recipe(RECIPES / "jasper.yaml")
