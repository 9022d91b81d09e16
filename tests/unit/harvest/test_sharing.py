"""Actors that are started for asking API teachers end with it."""

from __future__ import annotations

import pytest

from mtd_ray.errors import StorageError
from mtd_ray.harvest import sharing
from mtd_ray.objects import ObjectStore
from tests.tiny_corpus import tiny_recipe

PAID = {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 2}
OWN = {"provider": "local", "model": "m", "dimensions": 2}


class Actor:
    def __init__(self, name: str, ended: list[str]) -> None:
        self._name, self._ended = name, ended

    def close(self) -> None:
        self._ended.append(self._name)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    ended: list[str] = []
    monkeypatch.setattr(sharing, "start_budget", lambda store, recipe: Actor("budget", ended))
    monkeypatch.setattr("mtd_ray.harvest.quota.SharedLimiter.start", lambda quota, currency: Actor("limiter", ended))
    return ended


def test_all_end_once_also_after_an_error(local_store: ObjectStore, ended: list[str]) -> None:
    recipe = tiny_recipe(local_store, {"paid": PAID, "again": PAID, "own": OWN})
    with pytest.raises(ZeroDivisionError), sharing.shared(local_store, recipe, recipe.teachers) as (limiters, budget):
        assert sorted(limiters) == ["again", "paid"]
        assert budget is not None
        raise ZeroDivisionError
    assert ended == ["budget", "limiter"]


def test_the_limiter_ends_when_the_budget_cannot_start(
    local_store: ObjectStore, ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("no answer")

    monkeypatch.setattr(sharing, "start_budget", refuse)
    recipe = tiny_recipe(local_store, {"paid": PAID})
    with pytest.raises(StorageError), sharing.shared(local_store, recipe, recipe.teachers):
        pytest.fail("nothing may be asked")
    assert ended == ["limiter"]


def test_nothing_is_started_where_no_provider_is_asked(local_store: ObjectStore, ended: list[str]) -> None:
    recipe = tiny_recipe(local_store, {"paid": PAID, "own": OWN})
    with sharing.shared(local_store, recipe, {"own": recipe.teachers["own"]}) as started:
        assert started == ({}, None)
    assert ended == []
