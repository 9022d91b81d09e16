"""What the harvest took and what embedding costs, by commits, prices and a clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mtd_ray.objects import ObjectStore
from mtd_ray.report.costs import embedding_costs, harvest_costs
from mtd_ray.report.data import EmbeddingCost, HarvestCost
from mtd_ray.report.sections.costs import harvest_cost
from mtd_ray.report.sections.kept import kept
from mtd_ray.report.speed import Speed, machine_name, measured_speed, sampled_texts
from tests.tiny_run import store_run, tiny_recipe
from tests.unit.report.fabricated import report

PRICED = {
    "alpha": {"provider": "openai", "model": "alpha", "dimensions": 12, "usd_per_million_tokens": 0.2},
    "beta": {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 4, "send_dimensions": True},
    "gamma": {"provider": "openai", "model": "own-server", "dimensions": 4},
    "delta": {"provider": "openai", "model": "free", "dimensions": 4, "usd_per_million_tokens": 0},
    "local": {"provider": "local", "model": "some/model", "dimensions": 4},
}
STAGES = [{"name": "one", "heads": {28: {"cosine": 1.0}}, "lr": 1e-3, "steps": 4, "batch_size": 8}]
SPEED = Speed(1_000.0, "Some CPU @ 2 GHz", "float32", 32)


class Clock:
    """Time that passes only when texts are embedded."""

    def __init__(self, texts_per_second: float) -> None:
        self.now, self.rate, self.portions = 0.0, texts_per_second, list[int]()

    @contextmanager
    def open(self, store: ObjectStore, access: Any) -> Iterator[Any]:
        yield SimpleNamespace(encode=self._encode, about=SimpleNamespace(dtype="float32", max_tokens=32))

    def _encode(self, texts: Sequence[str], asked: Any) -> dict[int, np.ndarray]:
        self.now += len(texts) / self.rate
        self.portions.append(len(texts))
        return {}


def test_harvest_is_added_up_from_the_corpus_s_commits(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, "none")
    manifest = store_run(local_store, recipe, rows=120, failed={"alpha": {3, 70}})
    parts = 3 * 3  # three shards of 40 texts in parts of 16; each commit says one token
    assert harvest_costs(local_store, recipe, manifest) == (
        HarvestCost("alpha", "alpha", 120, 2, parts, None),  # an API whose price nobody knows
        HarvestCost("beta", "beta", 120, 0, parts, None),
    )
    teachers = recipe.model_dump()["teachers"] | {"alpha": {"provider": "openai", "model": "alpha", "dimensions": 12}}
    teachers["alpha"]["usd_per_million_tokens"] = 0  # an own server
    own = tiny_recipe(local_store, "none", teachers=teachers)
    assert [cost.usd for cost in harvest_costs(local_store, own, manifest)] == [0.0, None]


def test_dollars_that_nobody_knows_are_not_nothing() -> None:
    costs = [HarvestCost(name, name, 10, 0, 500, usd) for name, usd in (("paid", 1.5), ("own", 0.0), ("odd", None))]
    section = harvest_cost(costs)
    assert [row[-1] for row in section.shown[0].rows] == ["$1.50", "$0.00", "unknown", "at least $1.50"]  # type: ignore[union-attr]
    assert "cost at least $1.50 in all" in section.text[0]
    assert "Nobody knows what was paid for odd" in section.text[0]
    assert "Nobody charges for own: its machine is not counted" in section.text[0]
    (alone,) = harvest_cost(costs[2:]).shown
    assert alone.rows[0][-1] == "unknown"  # type: ignore[union-attr]


def test_student_by_its_speed_and_apis_by_their_tokens(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(
        local_store, "none", teachers=PRICED, stages=STAGES, evaluate={"machine_usd_per_hour": 1.8},
        student={"model": "none", "heads": [28], "max_tokens": 32},
    )  # fmt: skip
    harvested = [HarvestCost(name, "", 1_010, 10, 50_000, 0.0) for name in PRICED]
    student, alpha, beta, gamma, delta = embedding_costs(recipe, harvested, SPEED)
    assert (student.role, student.usd_per_million) == ("student", pytest.approx(0.5))
    assert "$1.8" in student.how
    assert alpha.usd_per_million == pytest.approx(50 * 0.2)
    assert "50.0 tokens a text at $0.2 per million tokens, the recipe's price" in alpha.how
    assert beta.usd_per_million == pytest.approx(50 * 0.02)
    assert "catalogue" in beta.how
    assert (gamma.usd_per_million, gamma.name) == (None, "gamma (own-server)")
    assert "teachers.gamma.usd_per_million_tokens" in gamma.how
    assert (delta.usd_per_million, "its machine is not counted" in delta.how) == (None, True)


def test_without_a_price_of_the_machine_there_is_speed_and_no_dollars(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, "none", teachers=PRICED, stages=STAGES, student={"model": "none", "heads": [28]})
    found = embedding_costs(recipe, [HarvestCost(name, "", 1_010, 10, 50_000, 0.0) for name in PRICED], SPEED)
    assert (found[0].usd_per_million, found[0].texts_per_second) == (None, 1_000.0)
    assert "one worker of 0.5 CPU (Some CPU @ 2 GHz), float32, texts cut at 32 tokens" in found[0].how
    shown = kept(replace(report(), embedding=found))
    assert not any("million texts" in figure.label for figure in shown.figures)


def test_a_teacher_of_any_name_is_no_student() -> None:
    teacher = EmbeddingCost("teacher", "student-of-before (x)", 0.1, None, "")
    student = EmbeddingCost("student", "student", 0.2, 10.0, "")
    figure = kept(replace(report(), embedding=(student, teacher))).figures[-1]
    assert (figure.value, figure.detail) == ("$0.20", "student-of-before (x): $0.10")


@pytest.mark.parametrize("rate", [0.5, 700.0, 20_000.0])
def test_speed_is_measured_for_seconds_whatever_it_is(local_store: ObjectStore, rate: float) -> None:
    manifest = store_run(local_store, tiny_recipe(local_store, "none"), rows=50)
    model: Any = Clock(rate)
    speed = measured_speed(local_store, model, manifest, 0.0, seconds=10.0, clock=lambda: model.now)
    assert speed == Speed(pytest.approx(rate), machine_name(0.0), "float32", 32)
    assert model.now < 50  # of the slowest: its first texts and one portion, of eight texts each
    assert max(model.portions) <= max(8, 2 * rate)


def test_sampled_texts_come_from_all_over_the_corpus(local_store: ObjectStore) -> None:
    manifest = store_run(local_store, tiny_recipe(local_store, "none"), rows=120)
    texts = sampled_texts(local_store, manifest)
    assert sorted(int(text.split()[-1]) for text in texts) == list(range(120))
    assert texts == sampled_texts(local_store, manifest)
