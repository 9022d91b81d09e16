"""Combinations that no single value can refuse, and those that only look alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.config import load_recipe
from mtd_ray.errors import RecipeError

_STAGE = "lr: 1e-4, steps: 5, batch_size: 8"


def _second(heads: str, teachers: str = "[small, paid]") -> list[str]:
    """The recipe's stage, then a second one."""
    first = "{name: one, heads: {8: {cosine: 1}, 4: {similarity: 1}}, " + _STAGE + "}"
    return [f"stages=[{first}, {{name: two, teachers: {teachers}, heads: {heads}, {_STAGE}}}]"]


@pytest.mark.parametrize(
    ("first", "second", "teachers", "told"),
    [
        ("cosine: 1", "cosine: 1", "[paid]", "small 4 there, paid 4 here"),
        ("cosine: 1", "l2: 1, target: cut", "[paid]", "small 4 there, small 2 + paid 2 here"),
        ("l2: 1, target: pca", "l2: 1, target: pca", "[paid, small]", "the directions (pca) of small there"),
        ("l2: 1, target: pca", "l2: 1", "[paid]", "the directions (pca) of small there, paid 4 here"),
    ],
)
def test_a_head_s_numbers_keep_their_meaning(recipe_file: Path, first: str, second: str, teachers: str, told: str) -> None:
    one = f"{{name: one, teachers: [small], heads: {{8: {{similarity: 1}}, 4: {{{first}}}}}, {_STAGE}}}"
    two = f"{{name: two, teachers: {teachers}, heads: {{4: {{{second}}}}}, {_STAGE}}}"
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [f"stages=[{one}, {two}]"])
    assert "stages.1.heads.4.target: these numbers meant something else in stages.0: " in str(caught.value)
    assert told in str(caught.value)
    assert "use a head of size 8, which keeps a place for each teacher" in str(caught.value)


def test_nested_heads_keep_the_meaning_of_each_other_s_numbers(recipe_file: Path) -> None:
    stages = _second("{8: {similarity: 1}, 4: {cosine: 1}}", "[paid]")
    with pytest.raises(
        RecipeError, match=r"stages\.1\.heads\.4\.target: .* stages\.0\.heads\.8: small 4 \+ paid 4 there, paid 4 here"
    ):
        load_recipe(recipe_file, [*stages, "student.matryoshka=nested"])
    load_recipe(recipe_file, stages)


@pytest.mark.parametrize(
    ("overrides", "key", "hint"),
    [
        (["student.heads=[16, 8, 4]", "stages.0.heads.16={l2: 1, target: pca}"], "stages.0.heads.16.target", "only 8 directions"),
        (["student.heads=[8, 3]", "stages.0.heads={8: {cosine: 1}, 3: {cosine: 1, target: cut}}"], "stages.0.heads.3", "3 of 8"),
        (["stages.0.heads.4={cosine: 1, target: cut}", "student.matryoshka=nested"], "stages.0.heads.4.target", "small 2 + paid 2"),
        (["stages.0.heads.4={cosine: 1, target: pca}", "student.matryoshka=nested"], "stages.0.heads.4.target", "directions (pca)"),
        (["student.heads=[9]", "student.matryoshka=nested", "stages.0.heads={9: {l2: 1}}"], "stages.0.heads.9", "size 8 (small"),
        ([*_second("{8: {similarity: 1}}"), "student.matryoshka=nested", "stages.0.heads={4: {similarity: 1}}"], "stages.0.heads",
         "add 8, at least with similarity, or write weight_decay: 0"),
        (["student.heads=[7, 4]", "teachers.paid.target_dimensions=3", "teachers.paid.target_shorten=fold",
          "stages.0.heads={7: {cosine: 1}, 4: {similarity: 1}}"], "teachers.paid.target_shorten", "one whole chunk of 3"),
        (["corpus.source={format: jsonl, path: x}", "evaluate.heldout=false", "train.evaluate_checkpoints=true",
          "train.checkpoint_every=5"], "train.evaluate_checkpoints", "name some in evaluate.pairs"),
    ],
)  # fmt: skip
def test_an_impossible_combination_is_refused(recipe_file: Path, overrides: list[str], key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert f"{key}: " in str(caught.value)
    assert hint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("twin", "message"),
    [
        (
            "{provider: local, model: some/model, dimensions: 4}",
            "same vectors as teachers.small, from one target store; leave one out",
        ),
        ("{provider: openai, model: text-embedding-3-small, dimensions: 4, base_url: 'http://other/v1'}", "its own 'revision'"),
    ],
)
def test_two_teachers_that_would_silently_be_one_are_refused(recipe_file: Path, twin: str, message: str) -> None:
    overrides = ["stages.0.teachers=[small, paid]", f"teachers.twin={twin}"]
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert message in str(caught.value)
    load_recipe(recipe_file, [*overrides, "teachers.twin.revision=second"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["student.prompts={query: a, s2p_query: b}"],
        ["corpus.source={format: jsonl, path: x}", "evaluate.heldout=false"],
        ["corpus.source={format: jsonl, path: x}", "evaluate.pairs={mine: x}"],
        ["teachers.paid.quota={tokens_per_minute: 500}", "teachers.paid.max_tokens=500"],
        ["teachers.paid.base_url='http://[::1]:8000/v1'"],
        ["train.workers=8"],
        ["train.trackers=[wandb, trackio]", "train.evaluate_checkpoints=true", "train.checkpoint_every=500"],
        ["stages.0.trainable={progressive: [heads, {layers: [1, 1]}, {last: 2}, all]}"],
        ["stages.0.heads.4={cosine: 1, target: cut}"],
        ["stages.0.heads={8: {l2: 1, target: pca}, 4: {angular: 1, target: pca}}", "student.matryoshka=nested"],
        ["stages.0.heads={8: {cosine: 1}, 4: {cosine: 1, target: cut}}", "student.matryoshka=nested", "student.heads=[4, 2]",
         "stages.0.teachers=[small]", "stages.0.heads={4: {cosine: 1}, 2: {cosine: 1, target: cut}}"],
        ["stages.0.heads={8: {similarity: 1}}", "student.matryoshka=nested"],
        [*_second("{8: {l2: 1}}"), "student.matryoshka=nested", "stages.0.weight_decay=0", "stages.0.heads={4: {similarity: 1}}"],
        _second("{8: {cosine: 1}, 4: {cosine: 1, target: cut}}", "[paid]"),
        _second("{8: {l2: 1, target: cut}}"),
        [*_second("{4: {l2: 1, target: pca}}"), "stages.0.heads={8: {similarity: 1}, 4: {l2: 1, target: pca}}"],
        _second("{4: {cosine: 1}}", "[paid]"),
        ["teachers.paid.target_dimensions=2", "teachers.paid.target_shorten=fold", "student.heads=[6, 3]",
         "stages.0.heads={6: {cosine: 1}, 3: {l2: 1, target: cut}}"],
    ],
)  # fmt: skip
def test_a_rule_refuses_no_more_than_it_must(recipe_file: Path, overrides: list[str]) -> None:
    load_recipe(recipe_file, overrides)
