"""A run is named after what decides its student, and nothing else."""

from __future__ import annotations

from pathlib import Path

from mtd_ray.config import load_recipe


def test_the_fingerprint_follows_what_decides_the_student(recipe_file: Path) -> None:
    name = load_recipe(recipe_file).run_name
    same = [
        "storage=s3://elsewhere/x",
        "train.workers=4",
        "teachers.paid.base_url=http://localhost:9/v1",
        "teachers.small.batch_tokens=64",
        "evaluate.baselines=false",
        "student.license=mit",
        "student.base_model_name=some/name",
        "teachers.small.license=mit",
        "teachers.small.target_dimensions=4",
        "stages.0.teachers=[small, paid]",
        "stages.0.teachers=[paid, small]",
        "train.keep_checkpoints=9",
        "train.trackers=[trackio]",
        "train.spot=aws",
        "train.micro_batch_tokens=64",
    ]
    other = [
        "seed=1",
        "stages.0.heads.4.similarity=1",
        "teachers.small.weight=2.0",
        "teachers.small.prompts={query: 'q: '}",
        "corpus.limit=9",
        "stages.0.trainable={progressive: [heads, all]}",
        "student.matryoshka=nested",
    ]
    assert {load_recipe(recipe_file, [o]).run_name for o in same} == {name}
    assert len({load_recipe(recipe_file, [o]).run_name for o in other} | {name}) == len(other) + 1


def test_the_fingerprint_follows_how_a_target_is_shortened(recipe_file: Path) -> None:
    shorter = ["student.heads=[6]", "stages.0.heads={6: {cosine: 1}}", "teachers.paid.target_dimensions=2"]
    cut, fold = (load_recipe(recipe_file, [*shorter, f"teachers.paid.target_shorten={how}"]) for how in ("cut", "fold"))
    assert cut.run_name != fold.run_name


def test_a_teacher_that_no_stage_uses_is_not_in_the_fingerprint(recipe_file: Path) -> None:
    third = "teachers.third={provider: local, model: a/third, dimensions: 4}"
    named = ["stages.0.teachers=[small, paid]"]
    recipe = load_recipe(recipe_file, [*named, third])
    assert recipe.used_teachers == ("small", "paid")
    assert recipe.run_name == load_recipe(recipe_file, named).run_name
    all_three = ["student.heads=[12]", "stages.0.heads={12: {cosine: 1}}"]
    assert load_recipe(recipe_file, [*all_three, third]).used_teachers == ("small", "paid", "third")
