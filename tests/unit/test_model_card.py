"""The card states the terms, the sizes and the training, and nothing about this machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mtd_ray.card import ModelCard
from mtd_ray.card.origins import is_on_a_hub, public_name
from mtd_ray.card.results import DataSource, model_index
from mtd_ray.config import Recipe
from mtd_ray.evaluate.results import MeasuredTask, Results, Row
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.licenses import NON_COMMERCIAL, hub_license, most_restrictive, restriction

MANIFEST: Any = SimpleNamespace(content="c0ffee", rows=12_345, pairs_sha256={"mine": "decaf"})


def recipe_tree() -> dict[str, Any]:
    return {
        "name": "small-one",
        "storage": {"url": "/store"},
        "corpus": {"source": {"format": "parquet", "path": "/private/texts"}},
        "teachers": {
            "big": {"provider": "local", "model": "acme/big", "dimensions": 32, "revision": "abc1", "license": "cc-by-nc-4.0"},
            "api": {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 16, "license": "proprietary"},
        },
        "student": {
            "model": "acme/base",
            "heads": [48, 8],
            "default_head": 8,
            "license": "mit",
            "prompts": {"query": "Find: "},
            "max_tokens": 99,
        },
        "stages": [
            {
                "name": "one",
                "heads": {48: {"cosine": 10, "similarity": 200}},
                "lr": 1e-4,
                "steps": 7,
                "batch_size": 4,
                "trainable": {"last": 3},
            },
        ],
    }


def card(**changes: Any) -> ModelCard:
    tree = recipe_tree()
    for key, value in changes.items():
        tree[key] = {**tree[key], **value}
    return ModelCard.of(Recipe.model_validate(tree, strict=False), MANIFEST)


def front_matter(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return loaded


def test_most_restrictive_licence_is_on_top() -> None:
    text = card().markdown()
    assert front_matter(text)["license"] == "cc-by-nc-4.0"
    first_paragraph = text.split("\n\n")[2]
    assert "cc-by-nc-4.0" in first_paragraph
    assert "teacher big" in first_paragraph
    assert "does not allow commercial use" in first_paragraph


def test_unstated_licence_is_said() -> None:
    text = card(teachers={"api": {"provider": "openai", "model": "m", "dimensions": 16}}).markdown()
    assert "**Not stated:** teacher api" in text
    assert "**Licence: at least cc-by-nc-4.0**" in text
    assert front_matter(text)["license"] == "other"


def test_base_model_library_and_sizes() -> None:
    text = card().markdown()
    matter = front_matter(text)
    assert matter["base_model"] == "acme/base"
    assert matter["library_name"] == "sentence-transformers"
    assert "| 8 | 32 | `2_Dense_8` | default |" in text
    assert "| 48 | 192 | `2_Dense_48` |  |" in text


def test_usage_names_prompt_and_size() -> None:
    text = card().markdown()
    assert 'model.encode(["a text"], prompt_name="query")  # shape (1, 8)' in text
    assert "- `query`: `'Find: '`" in text


def test_training_is_told() -> None:
    text = card().markdown()
    assert "| one | big, api | heads + last 3 layers | 48: 10·cosine + 200·similarity | 0.0001 | 7 × 4 |" in text
    assert "| corpus | 12,345 | `c0ffee` |" in text
    assert "| evaluation pairs mine |  | `decaf` |" in text
    assert "hardware: 1 worker with 1 CPU cores each, float32, DeepSpeed ZeRO stage" in text
    assert "training time" not in text
    assert (
        "training time: 2.5 h"
        in ModelCard.of(Recipe.model_validate(recipe_tree(), strict=False), MANIFEST, seconds=9000).markdown()
    )


def test_a_teacher_that_no_stage_learns_from_has_no_say() -> None:
    tree = recipe_tree()
    tree["stages"][0] |= {"teachers": ["api"], "heads": {8: {"similarity": 1}, 48: {"similarity": 1}}}
    text = ModelCard.of(Recipe.model_validate(tree, strict=False), MANIFEST).markdown()
    assert (front_matter(text)["license"], front_matter(text)["license_name"]) == ("other", "proprietary")
    assert "acme/big" not in text


def test_parts_of_the_target_are_told() -> None:
    api = {"provider": "openai", "model": "m", "dimensions": 16, "target_dimensions": 8, "weight": 0.5, "license": "mit"}
    rows = [card(teachers={"api": api | {"target_shorten": how}}).markdown() for how in ("cut", "fold")]
    assert all("| teacher big | acme/big | abc1 | 32 numbers, weight 1 | cc-by-nc-4.0 |" in text for text in rows)
    assert "| teacher api | m |  | 8 numbers (cut from 16), weight 0.5 | mit |" in rows[0]
    assert "| teacher api | m |  | 8 numbers (folded from 16), weight 0.5 | mit |" in rows[1]


def test_every_form_of_training_is_told() -> None:
    stage = {
        "name": "two",
        "teachers": ["api"],
        "heads": {48: {"angular": 1, "l2": 0.5}, 8: {"cosine": 2, "spread": 0.1, "target": "pca"}},
        "lr": 1e-4,
        "steps": 6,
        "batch_size": 4,
        "trainable": {"progressive": ["heads", {"layers": [4, 7]}, {"last": 3}, "all"]},
    }
    text = ModelCard.of(Recipe.model_validate(recipe_tree() | {"stages": [stage]}, strict=False), MANIFEST).markdown()
    assert "| heads, then heads + layers 4 to 7, then heads + last 3 layers, then all |" in text
    assert "| 48: 1·angular + 0.5·l2; 8: 2·cosine + 0.1·spread (target: pca) |" in text


TASKS = (MeasuredTask("SciFact", "Retrieval"), MeasuredTask("mine", "STS"))
SCORES = {
    "SciFact": TaskScore(
        0.6451,
        mteb={"dataset_revision": "0228b52", "scores": {"test": [{"hf_subset": "default", "main_score": 0.6451, "languages": []}]}},
    ),
    "mine": TaskScore(0.8, mteb={"scores": {"test": [{"hf_subset": "default", "main_score": 0.8}]}}),
}


def results(*, teacher: bool = True) -> Results:
    rows = [
        Row("student", "small-one", 48, {"SciFact": 0.66, "mine": 0.82}),
        Row("student", "small-one", 8, {"SciFact": 0.6451, "mine": 0.8}),
        Row("student", "small-one", 8, {"SciFact": 0.6}, "int8"),
        Row("untrained", "small-one", 8, {"SciFact": 0.2, "mine": 0.3}),
    ]
    if teacher:
        rows.append(Row("teacher", "big", 32, {"SciFact": 0.7, "mine": 0.9}))
    return Results("run", TASKS, 8, tuple(rows))


def measured_card(*, teacher: bool = True) -> str:
    recipe = Recipe.model_validate(recipe_tree(), strict=False)
    return ModelCard.of(recipe, MANIFEST, results(teacher=teacher), scores=SCORES).markdown()


def test_model_index_is_what_the_hub_reads() -> None:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    index = model_index("small-one", results(), SCORES, {"SciFact": DataSource("mteb/scifact", "ndcg_at_10")})
    name, (scifact, mine) = model_index_to_eval_results(index)
    assert name == "small-one"
    assert (scifact.task_type, scifact.dataset_type, scifact.dataset_split) == ("Retrieval", "mteb/scifact", "test")
    assert (scifact.metric_type, scifact.metric_value, scifact.dataset_revision) == ("ndcg_at_10", 64.51, "0228b52")
    assert (mine.dataset_type, mine.metric_type, mine.metric_value) == ("mine", "main_score", 80.0)


def test_front_matter_holds_the_results_and_is_valid_for_the_hub() -> None:
    from huggingface_hub import ModelCardData

    matter = front_matter(measured_card())
    assert "mteb" in matter["tags"]
    data = ModelCardData(**(matter | {"model_name": "small-one"}))
    assert [result.metric_value for result in data.eval_results or ()] == [64.51, 80.0]


def test_results_are_told_with_what_was_retained() -> None:
    text = measured_card()
    assert "retains **90.3 %** of its best teacher, big" in text
    assert "| task | type | student | before training | big |" in text
    assert "| SciFact | Retrieval | 64.51 | 20.00 | 70.00 |" in text
    sizes, forms = text.split("Vectors made smaller; means over SciFact:")
    assert "Means over all 2 tasks:" in sizes
    assert "| 48 | float32 | 192 | 74.00 | 92.5 % |" in sizes
    assert "| 48 | float32 | 192 | 66.00 | 94.3 % |" in forms
    assert "| 8 | int8 | 8 | 60.00 | 85.7 % |" in forms


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_and_arithmetic_are_told_apart(dtype: str) -> None:
    recipe = Recipe.model_validate(recipe_tree() | {"export": {"dtype": dtype}}, strict=False)
    text = ModelCard.of(recipe, MANIFEST, results(), scores=SCORES).markdown()
    assert f"of the weights as stored in {dtype}, computed in float32" in text


def test_names_from_outside_do_not_break_the_card() -> None:
    local = {"provider": "local", "model": "acme/a|b`c", "dimensions": 32, "license": "mit"}
    text = card(teachers={"big": local}, student={"prompts": {"query": "a `b`: "}}).markdown()
    assert r"| teacher big | acme/a\|b\`c |  | 32 numbers, weight 1 | mit |" in text
    assert "- `query`: `` 'a `b`: ' ``" in text


def test_without_teachers_nothing_is_retained() -> None:
    text = measured_card(teacher=False)
    assert "retains" not in text
    assert "| 8 | float32 | 32 | 72.25 | – |" in text


def test_a_card_before_the_evaluation_claims_nothing() -> None:
    text = card().markdown()
    assert "## Results" not in text
    assert "model-index" not in front_matter(text)


def test_datasets_of_the_hub_are_named() -> None:
    hub = {"format": "huggingface", "path": "HuggingFaceFW/fineweb-edu"}
    own = {"format": "huggingface", "path": "/private/saved"}
    assert front_matter(card(corpus={"source": hub, "additions": [own]}).markdown())["datasets"] == ["HuggingFaceFW/fineweb-edu"]


def test_openai_s_client_is_told_the_size() -> None:
    assert 'client.embeddings.create(model="small-one", input=["a text"], dimensions=8)' in card().markdown()


def test_shorter_vectors_of_a_nested_student_need_no_editing() -> None:
    nested = card(student={"matryoshka": "nested", "default_head": 48}).markdown()
    assert 'SentenceTransformer("FOLDER", truncate_dim=8)' in nested
    assert "truncate_dim" not in card(student={"default_head": 48}).markdown()


def test_nested_sizes_are_told() -> None:
    assert "one linear head per vector size" in card().markdown()
    assert "the smaller vectors are beginnings of the largest" in card(student={"matryoshka": "nested"}).markdown()


def test_local_paths_are_not_published() -> None:
    text = card(student={"model": "/home/me/secret-project/base"}).markdown()
    assert "/home/me" not in text
    assert "/private" not in text
    assert "base_model" not in front_matter(text)
    assert "| backbone | base |" in text


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("../secret/base", "base"), ("file:///home/me/base", "base"), ("C:/me/base", "base"), (r"C:\me\base", "base"),
        ("s3://bucket/secret/base", "base"), ("~/base/", "base"), ("runs/mine/base", "runs/mine/base"),
        ("package:acme/base", "package:acme/base"),
    ],
)  # fmt: skip
def test_only_a_hub_s_name_is_a_base_model(model: str, named: str) -> None:
    assert public_name(model) == named
    assert not is_on_a_hub(model)
    assert not is_on_a_hub(named)


def test_a_relative_folder_that_looks_like_a_hub_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "base").mkdir(parents=True)
    assert is_on_a_hub("models/base")
    monkeypatch.chdir(tmp_path)
    assert (is_on_a_hub("models/base"), public_name("models/base")) == (False, "base")


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["mit", "apache-2.0", "cc-by-nc-4.0"], "cc-by-nc-4.0"),
        (["cc-by-nc-sa-4.0", "proprietary"], "cc-by-nc-sa-4.0"),
        (["gemma", "gpl-3.0"], "gemma"),
        (["cc-by-sa-4.0", "cc-by-4.0"], "cc-by-sa-4.0"),
        (["mit", "apache-2.0"], "apache-2.0"),
        (["agpl-3.0", "apache-2.0"], "agpl-3.0"),
        (["CC-BY-ND 4.0", "Creative Commons BY-SA"], "CC-BY-ND 4.0"),
        ([], None),
    ],
)
def test_order_of_licences(licenses: list[str], expected: str | None) -> None:
    assert most_restrictive(licenses) == expected


@pytest.mark.parametrize(
    "license_id",
    [
        "CC BY-NC 4.0", "CC-BY-NC 4.0", "cc_by_nc_4.0", "cc-by-nc4.0", "CC-BY-NC-SA-4.0", "CC BY/NC", "ccbync", "non commercial",
        "Noncommercial", "non_commercial use", "not for commercial use", "academic only", "Academic Use", "personal-use",
        "research only", "h-research", "evaluation only", "PolyForm-Noncommercial-1.0.0",
    ],
)  # fmt: skip
def test_spellings_of_non_commercial(license_id: str) -> None:
    assert restriction(license_id) == NON_COMMERCIAL


@pytest.mark.parametrize(
    ("license_id", "rank"),
    [
        ("MIT", 0), ("NCSA", 3), ("Apache License 2.0", 1), ("CC BY 4.0", 1), ("CC-BY", 1), ("Academic Free License 3.0", 3),
        ("CC BY-SA 4.0", 2), ("CC_BY_ND_4.0", 4), ("gemma", 3), ("ecl-2.0", 3),
    ],
)  # fmt: skip
def test_licences_that_allow_commercial_use_are_not_mistaken(license_id: str, rank: int) -> None:
    assert restriction(license_id) == rank


@pytest.mark.parametrize(
    ("license_id", "expected"),
    [
        ("MIT", ("mit", None)),
        ("cc-by-nc-4.0", ("cc-by-nc-4.0", None)),
        ("CC BY-NC 4.0", ("cc-by-nc-4.0", None)),
        ("Apache 2.0", ("apache-2.0", None)),
        ("bsd-3-clause-clear", ("bsd-3-clause-clear", None)),
        ("openrail++", ("openrail++", None)),
        ("agpl", ("other", "agpl")),
        ("gpl-2.1", ("other", "gpl-2.1")),
        ("cc-by-sa-2.0", ("other", "cc-by-sa-2.0")),
        ("proprietary", ("other", "proprietary")),
        ("Our Terms (v2)!", ("other", "our-terms-v2")),
        (None, ("other", None)),
    ],
)
def test_the_hub_s_words_for_licences(license_id: str | None, expected: tuple[str, str | None]) -> None:
    assert hub_license(license_id) == expected
