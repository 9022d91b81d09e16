"""What is known of the providers' models, and recipes that ask for what they do not offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mtd_ray.config import ApiTeacher, Recipe, catalog, load_recipe, teacher_fingerprint, usd_per_token
from mtd_ray.errors import RecipeError

Load = Callable[..., Recipe]

RECIPE = """
name: paid
storage: s3://bucket/prefix
corpus: {{source: {{format: docstrings}}}}
teachers:
  one: {teacher}
harvest: {harvest}
student: {{model: some/backbone, heads: [8]}}
stages:
  - {{name: all, heads: {{8: {{similarity: 200}}}}, lr: 1e-4, steps: 5, batch_size: 8}}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def _load(teacher: str, harvest: str = "{}") -> Recipe:
        path = tmp_path / "paid.yaml"
        path.write_text(RECIPE.format(teacher=teacher, harvest=harvest))
        return load_recipe(path)

    return _load


@pytest.mark.parametrize(
    ("teacher", "tells"),
    [
        (
            "{provider: openai, model: text-embedding-3-large, dimensions: 4096}",
            "text-embedding-3-large has no vectors of size 4096; write 3072 or any smaller",
        ),
        ("{provider: openai, model: text-embedding-ada-002, dimensions: 512}", "no vectors of size 512; write 1536"),
        ("{provider: cohere, model: embed-v4.0, dimensions: 300}", "write one of 256, 512, 1024, 1536"),
        ("{provider: voyage, model: voyage-4-large, dimensions: 3072}", "write one of 256, 512, 1024, 2048"),
        (
            "{provider: openai, model: text-embedding-3-small, dimensions: 8, max_inputs: 4000}",
            "teachers.one.max_inputs: text-embedding-3-small takes at most 2,048 texts in a request, not 4,000",
        ),
        (
            "{provider: voyage, model: voyage-4, dimensions: 256, max_request_tokens: 400000}",
            "teachers.one.max_request_tokens: voyage-4 takes at most 320,000 tokens in a request, not 400,000",
        ),
        (
            "{provider: voyage, model: voyage-4-large, dimensions: 256, max_request_tokens: 320000}",
            "takes at most 120,000 tokens",
        ),
        ("{provider: openai, model: text-embedding-3-small, dimensions: 8, max_tokens: 9000}", "at most 8,192 tokens of one text"),
    ],
)
def test_what_a_known_model_does_not_offer_is_refused(load: Load, teacher: str, tells: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(teacher)
    assert tells in str(caught.value)
    assert "paid.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "teacher",
    [
        "{provider: openai, model: text-embedding-3-small, dimensions: 7}",
        "{provider: voyage, model: voyage-4-lite, dimensions: 512, max_request_tokens: 1000000}",
        "{provider: openai, model: own-model, base_url: 'http://own/v1', dimensions: 99, max_inputs: 9999, max_tokens: 40000}",
    ],
)
def test_what_is_offered_or_unknown_passes(load: Load, teacher: str) -> None:
    assert load(teacher).teachers["one"].dimensions > 0


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("provider: voyage, model: voyage-4-lite", 1_000_000),
        ("provider: voyage, model: voyage-4", 320_000),
        ("provider: voyage, model: voyage-4-large", 120_000),
        ("provider: voyage, model: not-listed", 120_000),
        ("provider: cohere, model: embed-v4.0", 12_000_000),
        ("provider: openai, model: text-embedding-3-small", 300_000),
        ("provider: voyage, model: voyage-4, max_request_tokens: 5000", 5_000),
    ],
)
def test_requests_are_filled_to_the_model_s_own_cap(load: Load, model: str, tokens: int) -> None:
    teacher = load(f"{{{model}, dimensions: 256}}").teachers["one"]
    assert isinstance(teacher, ApiTeacher)
    assert teacher.max_request_tokens == tokens


def test_the_size_of_requests_is_no_part_of_a_teacher_s_identity(load: Load) -> None:
    filled, small = (
        load(f"{{provider: voyage, model: voyage-4, dimensions: 256{cap}}}") for cap in ("", ", max_request_tokens: 9")
    )
    assert teacher_fingerprint(filled.teachers["one"]) == teacher_fingerprint(small.teachers["one"])


def test_a_teacher_without_a_model_has_one_fault(load: Load) -> None:
    with pytest.raises(RecipeError) as caught:
        load("{provider: voyage, dimensions: 256}")
    assert "teachers.one.model: this key is required" in str(caught.value)
    assert "max_request_tokens" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "tells"),
    [
        ("dtype: bfloat16", "starts from float32 weights; leave dtype bfloat16 out"),
        ("num_gpus: 0.5", "num_gpus: 0.5 would keep a GPU idle"),
    ],
)
def test_the_8_bit_backend_is_for_float32_on_a_cpu(load: Load, setting: str, tells: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(f"{{provider: local, model: m, dimensions: 8, backend: openvino-int8, {setting}}}")
    assert "teachers.one: backend openvino-int8" in str(caught.value)
    assert tells in str(caught.value)


def test_a_budget_needs_every_price(load: Load) -> None:
    own = "{{provider: openai, model: own, base_url: 'http://own/v1', dimensions: 8{price}}}"
    with pytest.raises(RecipeError, match=r"teachers\.one\.usd_per_million_tokens: .*write it here"):
        load(own.format(price=""), "{budget_usd: 5}")
    assert load(own.format(price=", usd_per_million_tokens: 0"), "{budget_usd: 5}").harvest.budget_usd == 5
    assert load(own.format(price="")).harvest.budget_usd is None
    assert load("{provider: local, model: m, dimensions: 8}", "{budget_usd: 5}")


def test_the_recipe_s_price_wins_over_the_catalog_s(load: Load) -> None:
    listed = load("{provider: openai, model: text-embedding-3-large, dimensions: 8}").teachers["one"]
    own = load("{provider: openai, model: text-embedding-3-large, dimensions: 8, usd_per_million_tokens: 1}").teachers["one"]
    assert isinstance(listed, ApiTeacher)
    assert isinstance(own, ApiTeacher)
    assert usd_per_token(listed) == pytest.approx(0.13e-6)
    assert usd_per_token(own) == pytest.approx(1e-6)


def test_a_model_s_own_facts_win_over_its_provider_s() -> None:
    known = catalog()
    assert known.caps("voyage", "voyage-4").request_tokens == 320_000
    assert known.caps("voyage", "not listed").request_tokens == 120_000
    assert known.per_minute("voyage", "voyage-4-lite").tokens == 48_000_000
    assert known.per_minute("openai", "not listed").tokens == 10_000_000
    for provider in known.providers.values():
        for model in provider.models.values():
            assert model.price is not None
            assert model.batch_price is None or 0 < model.batch_price < model.price
            assert model.sizes or model.size
