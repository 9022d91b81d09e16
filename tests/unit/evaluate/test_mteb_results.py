"""Results in the files that mteb reads: under today's name of a model, and only public tasks where the leaderboard looks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mteb.models import ModelMeta

from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.models import About, Published
from mtd_ray.evaluate.mteb_results import described, write_mteb
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class Data:
    name: str
    from_hub: bool
    type: str = "STS"
    identity: str = "data"
    parts: tuple[()] = ()

    def open(self, store: ObjectStore) -> Any:
        raise NotImplementedError


def record(task: str) -> KeptScore:
    about = About("who/measured-first", "1", 128, "float32", {"query": "ask: "}, parameters=10)
    return KeptScore(task, meta=described(about), scores={View(16): TaskScore(0.5, mteb={"task_name": task})})


def write(store: ObjectStore, published: Published) -> None:
    tasks = (Data("STSBenchmark", from_hub=True), Data("contracts", from_hub=False))
    write_mteb(store, "r", published, [(task, record(task.name)) for task in tasks], View(16))


def test_a_record_says_nothing_of_how_a_model_is_called() -> None:
    meta = record("a").meta
    assert (meta["max_tokens"], meta["n_parameters"], meta["use_instructions"]) == (128, 10, True)
    assert "measured-first" not in json.dumps(meta)


def test_a_model_is_called_as_it_is_today(local_store: ObjectStore) -> None:
    write(local_store, Published("mtd-ray/mine", "abc", "MIT"))
    meta = json.loads(local_store.get("runs/r/report/mteb/results/mtd-ray__mine/abc/model_meta.json"))
    assert [meta[key] for key in ("name", "revision", "license", "embed_dim")] == ["mtd-ray/mine", "abc", "mit", 16]
    assert ModelMeta.model_validate(meta | {"loader": None}).name == "mtd-ray/mine"


def test_only_what_the_hub_has_lies_where_the_leaderboard_takes_it(local_store: ObjectStore) -> None:
    write(local_store, Published("mtd-ray/mine", "abc", "terms of our own"))
    below = "results/mtd-ray__mine/abc"
    assert {info.key.removeprefix("runs/r/report/") for info in local_store.list("runs/r/report")} == {
        f"mteb/{below}/STSBenchmark.json",
        f"mteb/{below}/model_meta.json",
        f"mteb-local/{below}/contracts.json",
        f"mteb-local/{below}/model_meta.json",
    }
    meta = json.loads(local_store.get(f"runs/r/report/mteb-local/{below}/model_meta.json"))
    assert meta["license"] is None
