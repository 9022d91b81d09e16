"""A recipe from its file: YAML, anchors, overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.config import LastLayers, OpenAITeacher, load_recipe
from mtd_ray.errors import RecipeError


def test_a_sound_recipe_loads(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe.storage.url == "s3://bucket/prefix"
    assert recipe.stages[0].lr == 1e-4
    assert recipe.stages[0].heads[8].ranking == 20
    assert recipe.target_dimensions(recipe.used_teachers) == 8
    assert recipe.student.export_head == 8


def test_overrides_reach_mappings_lists_and_number_keys(recipe_file: Path) -> None:
    overrides = [
        "stages.0.steps=7", "stages.0.trainable={last: 2}", "stages.0.heads.4.ranking=3", "storage.endpoint=http://localhost:1",
    ]  # fmt: skip
    recipe = load_recipe(recipe_file, overrides)
    assert recipe.stages[0].steps == 7
    assert recipe.stages[0].trainable == LastLayers(last=2)
    assert recipe.stages[0].heads[4].ranking == 3
    assert (recipe.storage.url, recipe.storage.endpoint) == ("s3://bucket/prefix", "http://localhost:1")


def test_a_key_given_twice_is_an_error(recipe_file: Path) -> None:
    recipe_file.write_text(recipe_file.read_text() + "name: again\n")
    with pytest.raises(RecipeError, match="'name' stands twice"):
        load_recipe(recipe_file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("? [a, b]\n: 1\n", "a key is text or a whole number, not a list or a mapping"),
        ("2024-01-01: 1\n", "not '2024-01-01', read as timestamp; put quotes around it"),
        ("yes: 1\n", "not 'yes', read as bool"),
        ("seed: 2024-13-45\n", "not valid YAML: month must be"),
        ("train: {8: 1, '8': 2}\n", "the key '8' stands twice"),
    ],
)
def test_a_key_or_value_that_no_recipe_can_hold_is_one_line(recipe_file: Path, line: str, message: str) -> None:
    recipe_file.write_text(recipe_file.read_text() + line)
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_anchors_and_merges_save_repeating_a_stage(recipe_file: Path) -> None:
    text = recipe_file.read_text().replace("  - name: heads", "  - &first\n    name: heads")
    recipe_file.write_text(text + "  - &second {<<: *first, name: more, steps: 9}\n  - {<<: *second, name: last}\n")
    first, second, last = load_recipe(recipe_file, ["stages.0.lr=0.5", "stages.0.heads.4.ranking=1"]).stages
    assert [(stage.name, stage.steps, stage.lr) for stage in (first, second, last)] == [
        ("heads", 5, 0.5), ("more", 9, 1e-4), ("last", 9, 1e-4),
    ]  # fmt: skip
    assert [stage.heads[4].ranking for stage in (first, second, last)] == [1, 0, 0]


def test_a_missing_file_names_its_neighbour(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"did you mean .*sound\.yaml"):
        load_recipe(recipe_file.with_name("sond.yaml"))


def test_yaml_that_does_not_parse_is_one_line(recipe_file: Path) -> None:
    recipe_file.write_text("name: [unclosed")
    with pytest.raises(RecipeError, match="not valid YAML") as caught:
        load_recipe(recipe_file)
    assert "\n" not in str(caught.value)


def test_a_recipe_is_frozen(recipe_file: Path) -> None:
    teacher = load_recipe(recipe_file).teachers["paid"]
    assert isinstance(teacher, OpenAITeacher)
    with pytest.raises(ValueError, match="frozen"):
        teacher.model = "other"  # type: ignore[misc]
