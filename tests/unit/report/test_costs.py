"""What the harvest took and what embedding costs, by commits, prices and a clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mtd_ray.objects import ObjectStore
from mtd_ray.report.costs import embedding_costs, harvest_costs, measured_speed, sampled_texts
from mtd_ray.report.data import HarvestCost
from tests.tiny_run import store_run, tiny_recipe

PRICED = {
    "alpha": {"provider": "openai", "model": "alpha", "dimensions": 12, "usd_per_million_tokens": 0.2},
    "beta": {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 4, "send_dimensions": True},
    "gamma": {"provider": "openai", "model": "own-server", "dimensions": 4},
    "local": {"provider": "local", "model": "some/model", "dimensions": 4},
}
STAGES = [{"name": "one", "heads": {24: {"cosine": 1.0}}, "lr": 1e-3, "steps": 4, "batch_size": 8}]


class Clock:
    """Time that passes only when texts are embedded."""

    def __init__(self, texts_per_second: float) -> None:
        self.now, self.rate, self.portions = 0.0, texts_per_second, list[int]()

    @contextmanager
    def open(self, store: ObjectStore, access: Any) -> Iterator[Any]:
        yield SimpleNamespace(encode=self._encode)

    def _encode(self, texts: Sequence[str], asked: Any) -> dict[int, np.ndarray]:
        self.now += len(texts) / self.rate
        self.portions.append(len(texts))
        return {}


def test_harvest_is_added_up_from_the_corpus_s_commits(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, "none")
    manifest = store_run(local_store, recipe, rows=120, failed={"alpha": {3, 70}})
    parts = 3 * 3  # three shards of 40 texts in parts of 16; each commit says one token
    assert harvest_costs(local_store, recipe, manifest) == (
        HarvestCost("alpha", "alpha", 120, 2, parts, 0.0),
        HarvestCost("beta", "beta", 120, 0, parts, 0.0),
    )


def test_student_by_its_speed_and_apis_by_their_tokens(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(
        local_store, "none", teachers=PRICED, stages=STAGES, evaluate={"machine_usd_per_hour": 1.8},
        student={"model": "none", "heads": [24], "max_tokens": 32},
    )  # fmt: skip
    harvested = [HarvestCost(name, "", 1_010, 10, 50_000, 0.0) for name in PRICED]
    student, alpha, beta, gamma = embedding_costs(recipe, harvested, 1_000.0)
    assert (student.name, student.usd_per_million) == ("student", pytest.approx(0.5))
    assert "$1.8" in student.how
    assert alpha.usd_per_million == pytest.approx(50 * 0.2)
    assert "50.0 tokens a text at $0.2 per million tokens, the recipe's price" in alpha.how
    assert beta.usd_per_million == pytest.approx(50 * 0.02)
    assert "catalogue" in beta.how
    assert (gamma.usd_per_million, gamma.name) == (None, "gamma (own-server)")
    assert "teachers.gamma.usd_per_million_tokens" in gamma.how


@pytest.mark.parametrize("rate", [0.5, 700.0, 20_000.0])
def test_speed_is_measured_for_seconds_whatever_it_is(local_store: ObjectStore, rate: float) -> None:
    manifest = store_run(local_store, tiny_recipe(local_store, "none"), rows=50)
    model: Any = Clock(rate)
    speed = measured_speed(local_store, model, manifest, seconds=10.0, clock=lambda: model.now)
    assert speed == pytest.approx(rate)
    assert model.now < 50  # of the slowest: its first texts and one portion, of eight texts each
    assert max(model.portions) <= max(8, 2 * rate)


def test_sampled_texts_come_from_all_over_the_corpus(local_store: ObjectStore) -> None:
    manifest = store_run(local_store, tiny_recipe(local_store, "none"), rows=120)
    texts = sampled_texts(local_store, manifest)
    assert sorted(int(text.split()[-1]) for text in texts) == list(range(120))
    assert texts == sampled_texts(local_store, manifest)
