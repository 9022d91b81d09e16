"""Scores stay under what decides them; records of several measurements become one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.kept_scores import KeptScore, find_score, keep_score, score_key
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class NamedData:
    name: str = "SciFact"
    type: str = "Retrieval"
    identity: str = "one"

    def open(self, store: ObjectStore) -> Any:
        raise NotImplementedError


SCORE = TaskScore(0.5, "query", (0.4, 0.6), groups=(0, 0), lengths=(12, 90), prompts={"query": "ask: "}, mteb={"task_name": "a"})


def record(*views: str, main: float = 0.5, sizes: tuple[int, ...] = (), origin: str = "") -> KeptScore:
    return KeptScore("model", "task", sizes, scores={View.parse(view): TaskScore(main) for view in views}, origin=origin)


def test_what_is_kept_is_found_whole(local_store: ObjectStore) -> None:
    kept = KeptScore(
        "model", "task", (8, 16), {"name": "a/b"}, {View(8): SCORE, View(8, "pca"): SCORE}, {View(8): (0.4, 0.6)}, "16 x"
    )
    assert keep_score(local_store, "scores/a/b.json", kept) == kept
    assert find_score(local_store, "scores/a/b.json") == kept
    assert find_score(local_store, "scores/a/c.json") is None


def test_each_thing_that_decides_a_score_has_a_key_of_its_own() -> None:
    keys = {
        score_key("student", NamedData()),
        score_key("other", NamedData()),
        score_key("student", NamedData(name="Other")),
        score_key("student", NamedData(type="STS")),
        score_key("student", NamedData(identity="two")),
    }
    assert len(keys) == 5
    assert score_key("student", NamedData()) in keys


def test_views_that_come_later_are_added(local_store: ObjectStore) -> None:
    keep_score(local_store, "key", record("8", "16", sizes=(8, 16)))
    joined = keep_score(local_store, "key", record("8", "8-int8", main=0.9))
    assert {str(view): score.main for view, score in joined.scores.items()} == {"8": 0.9, "16": 0.5, "8-int8": 0.9}
    assert joined.sizes == (8, 16)
    assert find_score(local_store, "key") == joined


def test_views_made_from_something_else_are_not_mixed(local_store: ObjectStore) -> None:
    first = record("8", "16", "8-cut", "8-pca", origin="16 texts")
    assert first.usable("16 texts") == first
    assert set(map(str, first.usable("16 others").scores)) == {"8", "16"}
    keep_score(local_store, "key", first)
    assert set(map(str, keep_score(local_store, "key", record("8-int8")).scores)) == {"8", "16", "8-cut", "8-pca", "8-int8"}
    other = keep_score(local_store, "key", record("8-pca", main=0.9, origin="16 others"))
    assert {str(view): score.main for view, score in other.scores.items()} == {"8": 0.5, "16": 0.5, "8-int8": 0.5, "8-pca": 0.9}
    assert other.origin == "16 others"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"views": {}}', b'{"views": {"8": {}}}'])
def test_a_damaged_record_is_named(local_store: ObjectStore, damage: bytes) -> None:
    local_store.put("scores/a/b.json", damage)
    with pytest.raises(EvaluationError, match=r"scores/a/b\.json is damaged .*delete it"):
        find_score(local_store, "scores/a/b.json")
