"""Scores stay under what decides them; records of several measurements become one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
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
    parts: tuple[NamedData, ...] = ()
    from_hub: bool = True

    def open(self, store: ObjectStore) -> Any:
        raise NotImplementedError


SCORE = TaskScore(0.5, "query", (0.4, 0.6), groups=(0, 0), lengths=(12, 90), prompts={"query": "ask: "}, mteb={"task_name": "a"})


def record(*views: str, main: float = 0.5, sizes: tuple[int, ...] = (), origin: str = "") -> KeptScore:
    return KeptScore("task", sizes, scores={View.parse(view): TaskScore(main) for view in views}, origin=origin)


def test_what_is_kept_is_found_whole(local_store: ObjectStore) -> None:
    kept = KeptScore("task", (8, 16), {"max_tokens": 8}, {View(8): SCORE, View(8, "pca"): SCORE}, {View(8): (0.4, 0.6)}, "16 x")
    assert keep_score(local_store, "scores/a/b.json", kept) == kept
    assert find_score(local_store, "scores/a/b.json") == kept
    assert find_score(local_store, "scores/a/c.json") is None


def test_what_all_views_have_in_common_is_kept_once(local_store: ObjectStore) -> None:
    gold = tuple(number / 1000 for number in range(1000))
    score = TaskScore(0.5, "pair", gold[::-1], gold, groups=(0,) * 1000, lengths=(7,) * 1000)
    odd = replace(score, items=(), gold=(), groups=(), lengths=())
    kept = KeptScore("task", scores={View(size): score for size in range(1, 24)} | {View(24): odd})
    keep_score(local_store, "key", kept)
    assert find_score(local_store, "key") == kept
    stored = json.loads(local_store.get("key"))
    assert [len(common["gold"]) for common in stored["common"]] == [1000, 0]
    assert "gold" not in stored["views"]["23"]


def test_each_thing_that_decides_a_score_has_a_key_of_its_own() -> None:
    keys = {
        score_key("student", {}, NamedData()),
        score_key("other", {}, NamedData()),
        score_key("student", {}, NamedData(name="Other")),
        score_key("student", {}, NamedData(type="STS")),
        score_key("student", {}, NamedData(identity="two")),
    }
    assert len(keys) == 5
    assert score_key("student", {}, NamedData()) in keys


@pytest.mark.parametrize(
    "key", ["SciFact", "SciFact-query", "SciFact-document", "Retrieval", "Retrieval-query", "query", "document"]
)
def test_a_prompt_that_a_task_gets_is_part_of_its_key(key: str) -> None:
    keys = {score_key("student", chosen, NamedData()) for chosen in ({}, {key: ""}, {key: "a"}, {key: "b"})}
    assert len(keys) == 4


def test_a_prompt_of_other_tasks_changes_nothing() -> None:
    plain = score_key("student", {}, NamedData())
    assert score_key("student", {"STS": "a", "NFCorpus": "a", "Reranking-query": "a"}, NamedData()) == plain
    narrow = {"SciFact-query": "a", "SciFact-document": "b", "SciFact": "c"}
    assert score_key("student", narrow, NamedData()) == score_key("student", narrow | {"Retrieval": "d", "query": "e"}, NamedData())


def test_prompts_of_a_task_made_of_tasks_are_its_parts() -> None:
    whole = NamedData("Mean", "Retrieval", parts=(NamedData("Mean of some", parts=(NamedData("One", "STS"),)), NamedData("Two")))
    keys = {score_key("student", chosen, whole) for chosen in ({}, {"STS": "a"}, {"One": "b"}, {"Two-query": "c"})}
    assert len(keys) == 4
    assert score_key("student", {"Mean": "a", "Classification": "a"}, whole) == score_key("student", {}, whole)


def test_records_of_another_format_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now = score_key("student", {}, NamedData())
    monkeypatch.setattr("mtd_ray.evaluate.kept_scores._FORMAT", 0)
    assert score_key("student", {}, NamedData()) != now


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


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"views": {}}', b'{"common": [], "views": {"8": {"common": 0}}}'])
def test_a_damaged_record_is_named(local_store: ObjectStore, damage: bytes) -> None:
    local_store.put("scores/a/b.json", damage)
    with pytest.raises(EvaluationError, match=r"scores/a/b\.json is damaged .*delete it"):
        find_score(local_store, "scores/a/b.json")
