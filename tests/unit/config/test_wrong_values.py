"""A wrong value is refused with file, key and the nearest valid one, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtd_ray.config import load_recipe
from mtd_ray.errors import RecipeError


@pytest.mark.parametrize(
    ("override", "key", "hint"),
    [
        ("trian.workers=2", "trian", "did you mean 'train'?"),
        ("train.workes=2", "train.workes", "did you mean 'workers'?"),
        ("stages.0.heads.8.cosin=3", "stages.0.heads.8.cosin", "did you mean 'cosine'?"),
        ("teachers.small.dimension=4", "teachers.small.dimension", "did you mean 'dimensions'?"),
        ("teachers.small.provider=locla", "teachers.small", "did you mean 'local'?"),
        ("corpus.source.format=jsnl", "corpus.source", "did you mean 'jsonl'?"),
        ("corpus.source.pakages=[a]", "corpus.source.pakages", "did you mean 'packages'?"),
        ("train.workers=two", "train.workers", "valid integer (given: 'two')"),
        ("train.workers=0", "train.workers", "greater than or equal to 1"),
        ("stages.0.lr=.nan", "", "not JSON compliant"),
        ("stages.0.trainable=haeds", "stages.0.trainable", "'heads' or 'all'"),
        ("stages.0.heads={}", "stages.0.heads", "at least 1 item"),
        ("stages.0.heads.4.cosine=3", "stages.0.heads.4", "target of size 8 (small 4 + paid 4)"),
        ("stages.0.heads={16: {similarity: 1}}", "stages.0.heads.16", "the student has no such head"),
        ("stages.0.heads={8: {}}", "stages.0.heads.8", "trains nothing"),
        ("stages.0.heads.4={}", "stages.0.heads.4", "trains nothing"),
        ("train.workers=9", "stages.0.batch_size", "8 rows cannot be dealt to the 9 workers"),
        ("teachers.paid.quota={tokens_per_minute: 500}", "teachers.paid.quota.tokens_per_minute", "max_tokens: 8192"),
        ("student.prompts={querys: x}", "student.prompts.querys", "did you mean 'query'?"),
        ("corpus.source={format: jsonl, path: x}", "evaluate.pairs", "needs something to be measured on"),
        ("stages.0.teachers=[smal]", "stages.0.teachers", "did you mean 'small'?"),
        ("stages.0.trainable={last: 3}", "stages.0.trainable.last", "the student has 2"),
        ("student.default_head=5", "student", "not one of the heads"),
        ("student.heads=[8, 8]", "student.heads", "stands twice"),
        ("teachers.small.trust_remote_code=true", "teachers.small", "pinned 'revision'"),
        ("storage=relative/folder", "storage.url", "absolute folder"),
        ("stages.3.steps=1", "'stages.3.steps'", "'3' is no element of a list of 1"),
        ("stages.3=1", "'stages.3'", "'3' is no element of a list of 1"),
        ("stages.first.steps=1", "'stages.first.steps'", "'first' is no element"),
        ("student.heads.0.x=1", "student.heads.0", "nothing below it"),
        ("student.layers.0.x=1", "student.layers.0", "nothing below it"),
        ("student.heads.0.a.b=1", "student.heads.0", "nothing below it"),
        ("student.model.x=1", "student.model", "nothing below it"),
        ("seed=2024-13-45", "'seed'", "not valid YAML"),
        ("seed={? [a] : 1}", "'seed'", "not valid YAML"),
        ("stages.0.steps", "stages.0.steps", "key.path=value"),
        ("stages.0.trainable=7", "stages.0.trainable", "write heads, all, {last: 3}, {layers: [4, 7]}, or {progressive: [...]}"),
        ("stages.0.trainable={last: 1, layers: [0, 1]}", "stages.0.trainable", "write heads, all, {last: 3}"),
        ("stages.0.trainable={last: 0}", "stages.0.trainable.last", "greater than or equal to 1 (given: 0)"),
        ("stages.0.trainable={layers: [1, 0]}", "stages.0.trainable", "the first layer, 1, comes after the last one, 0"),
        ("stages.0.trainable={layers: [0, 2]}", "stages.0.trainable.layers", "2 layers are numbered from 0 to 1"),
        ("stages.0.trainable={progressive: [heads]}", "stages.0.trainable.progressive", "at least 2 items"),
        ("stages.0.trainable={progressive: [heads, al]}", "stages.0.trainable.progressive.1", "'heads' or 'all' (given: 'al')"),
        ("stages.0.trainable={progressive: [heads, {last: 3}]}", "stages.0.trainable.progressive.1.last", "the student has 2"),
        ("stages.0.trainable={progressive: [heads, all, all]}", "stages.0.trainable.progressive.2", "the same as the part before"),
        (
            "stages.0.trainable={progressive: [heads, all, heads, all, heads, all]}",
            "stages.0.trainable.progressive",
            "6 parts cannot share 5 steps",
        ),
        ("stages.0.heads.4.target=cutt", "stages.0.heads.4.target", "'whole', 'cut' or 'pca'"),
        ("stages.0.heads.4.target=cut", "stages.0.heads.4.target", "only cosine, angular and l2 compare a vector"),
        ("stages.0.heads.4.target=pca", "stages.0.heads.4.target", "only cosine, angular and l2 compare a vector"),
        ("stages.0.heads.4={spread: 1}", "stages.0.heads.4", "spread alone learns nothing"),
        ("stages.0.batch_size=2", "stages.0.batch_size", "2 texts make only one; write at least 3"),
        ("student.heads=[8, 4, 2]", "student.heads", "no stage trains size 2"),
        ("teachers.small.target_dimensions=5", "teachers.small", "more than the dimensions harvested, 4"),
        ("teachers.small.target_shorten=fold", "teachers.small.target_shorten", "nothing is shortened without target_dimensions"),
        ("train.trackers=[wandbb]", "train.trackers.0", "'wandb', 'mlflow' or 'trackio'"),
        ("train.trackers=[wandb, wandb]", "train.trackers", "stands twice"),
        ("train.evaluate_checkpoints=true", "train.evaluate_checkpoints", "write train.checkpoint_every: 500"),
        ("train.keep_checkpoints=0", "train.keep_checkpoints", "greater than or equal to 1"),
        ("train.spot=gcp", "train.spot", "'aws'"),
    ],
)
def test_a_wrong_value_names_its_key_and_the_way_out(recipe_file: Path, override: str, key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [override])
    assert key in str(caught.value)
    assert hint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 2


def test_a_secret_given_by_value_is_refused_and_not_repeated(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["teachers.paid.api_key=sk-very-secret"])
    assert "env:NAME" in str(caught.value)
    assert "sk-very-secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["teachers.paid.base_url", "storage.endpoint"])
@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000", "ftp://host", "http://", "http://:80", "http://host:port", "http://host:99999", "http://a b",
        "http://[::1", "http://me:hidden@host/v1", "https://host/v1?key=hidden", "hidden",
    ],
)  # fmt: skip
def test_an_address_is_http_with_a_host_and_holds_no_secret(recipe_file: Path, key: str, address: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [f"{key}={json.dumps(address)}"])
    assert f"{key}: " in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_every_fault_is_reported_at_once(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["train.workes=2", "stages.0.steps=0", "student.haeds=[1]"])
    assert len(str(caught.value).splitlines()) == 3
    assert all(line.startswith(str(recipe_file)) for line in str(caught.value).splitlines())


def test_a_misspelled_form_of_trainable_is_told_of_alone(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["stages.0.trainable={progresive: [heads, all]}"])
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [
        "stages.0.trainable.progressive: this key is required",
        "stages.0.trainable.progresive: unknown key; did you mean 'progressive'?",
    ]
