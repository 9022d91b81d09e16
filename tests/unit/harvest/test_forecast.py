"""What a harvest will cost, read from storage."""

from __future__ import annotations

import numpy as np
import pytest

from mtd_ray.errors import RecipeError
from mtd_ray.harvest import forecast as module
from mtd_ray.harvest.claims import Claim, Claims, paid_teachers, spent_usd
from mtd_ray.harvest.forecast import forecast
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part
from mtd_ray.teachers.tokenizer import ExactTokens
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

OWN = {"provider": "openai", "model": "own", "base_url": "http://own/v1", "dimensions": 2, "usd_per_million_tokens": 1_000.0}
LISTED = {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 2}


def commit(store: ObjectStore, recipe_teacher: str, part: object, usd: float) -> None:
    rows = part.rows  # type: ignore[attr-defined]
    ids = [f"t{row}" for row in range(rows)]
    vectors = np.ones((rows, 2), np.float32)
    write_part(store, recipe_teacher, part, ids, vectors, {}, tokens=7 * rows, requests=1, seconds=0.1, usd=usd)  # type: ignore[arg-type]


def test_tokens_are_estimated_from_bytes_and_nothing_is_written(local_store: ObjectStore) -> None:
    texts = tiny_texts(40)
    manifest = write_corpus(local_store, texts, shard_rows=10)
    recipe = tiny_recipe(local_store, {"own": OWN | {"prompts": {"passage": "1234"}}}, part_rows=4)
    before = {info.key for info in local_store.list()}
    (cost,) = forecast(local_store, recipe, manifest).costs
    tokens = sum(len(text) / 4 + 1 for text in texts)
    assert cost.work.tokens == pytest.approx(tokens, abs=1)
    assert cost.work.counted == "estimated at 4 bytes a token in all rows"
    assert cost.usd == pytest.approx(tokens / 1000, rel=0.01)
    assert (cost.work.rows, cost.work.total_rows, cost.stored_bytes) == (40, 40, 160)
    assert {info.key for info in local_store.list()} == before, "a plan fixes nothing, not even the size of parts"


def test_a_large_corpus_is_sampled_evenly(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_corpus(local_store, ["x" * 4 * (1 + row % 2) for row in range(400)], shard_rows=20)
    monkeypatch.setattr(module, "_SAMPLED_SHARDS", 5)
    monkeypatch.setattr(module, "_SAMPLED_ROWS", 50)
    (cost,) = forecast(local_store, tiny_recipe(local_store, {"own": OWN}), manifest).costs
    assert cost.work.counted == "estimated at 4 bytes a token in 50 of 400 rows"
    assert 400 <= cost.work.tokens <= 800


def test_tokens_are_counted_where_the_tokenizer_is_public(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_corpus(local_store, ["a b c"] * 8, shard_rows=4)
    monkeypatch.setattr(module, "token_count", lambda _: ExactTokens(lambda text: len(text.split())))
    (cost,) = forecast(local_store, tiny_recipe(local_store, {"paid": LISTED}), manifest).costs
    assert (cost.work.tokens, cost.work.counted) == (24, "counted with the provider's tokenizer in all rows")


def test_what_is_harvested_is_not_planned_and_tells_of_the_rest(local_store: ObjectStore) -> None:
    manifest = write_corpus(local_store, tiny_texts(20), shard_rows=10)
    recipe = tiny_recipe(local_store, {"own": OWN, "other": OWN | {"model": "other"}}, part_rows=5, budget_usd=1.0)
    fingerprint = paid_teachers(recipe)["own"]
    commit(local_store, fingerprint, parts_of(manifest, 5)[0], usd=0.25)
    planned = forecast(local_store, recipe, manifest, teachers=["own"])
    (cost,) = planned.costs
    assert (cost.work.rows, cost.work.tokens, cost.work.counted) == (15, 105, "as in 5 rows harvested before")
    assert cost.spent_usd == 0.0
    for name, claim in (("own", Claim(0.5, 0.25, closed=True)), ("other", Claim(0.5, 0.0, closed=False))):
        Claims(local_store, []).write(paid_teachers(recipe)[name], "x", claim)
    assert forecast(local_store, recipe, manifest, teachers=["own"]).spent_usd == 0.75, "all teachers share the budget"


def test_a_teacher_the_recipe_does_not_have(local_store: ObjectStore) -> None:
    manifest = write_corpus(local_store, tiny_texts(4), shard_rows=4)
    with pytest.raises(RecipeError, match="own"):
        forecast(local_store, tiny_recipe(local_store, {"own": OWN}), manifest, teachers=["owm"])


def test_what_two_names_of_one_teacher_cost_is_counted_once(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, {"own": OWN, "again": OWN})
    Claims(local_store, []).write(paid_teachers(recipe)["own"], "x", Claim(0.5, 0.25, closed=True))
    assert spent_usd(local_store, recipe) == {"own": 0.25, "again": 0.0}
