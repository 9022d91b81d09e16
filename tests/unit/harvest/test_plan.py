from __future__ import annotations

import numpy as np

from mtd_ray.harvest.plan import plan_harvest
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import write_part
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

TEACHER = {"provider": "openai", "model": "m", "dimensions": 2}


def test_what_is_committed_is_not_pending_and_the_first_part_size_stays(local_store: ObjectStore) -> None:
    manifest = write_corpus(local_store, tiny_texts(10), shard_rows=10)
    (plan,) = plan_harvest(local_store, tiny_recipe(local_store, {"a": TEACHER}, part_rows=4), manifest, ["a"])
    assert (len(plan.parts), plan.pending_rows) == (3, 10)
    part = plan.parts[1]
    ids = [f"t{row}" for row in range(part.start, part.stop)]
    write_part(local_store, plan.fingerprint, part, ids, np.ones((4, 2), np.float32), {}, tokens=1, requests=1, seconds=1.0)
    (plan,) = plan_harvest(local_store, tiny_recipe(local_store, {"a": TEACHER}, part_rows=5), manifest, ["a"])
    assert [(part.start, part.stop) for part in plan.pending] == [(0, 4), (8, 10)]


def test_two_names_of_one_teacher_are_paid_once(local_store: ObjectStore) -> None:
    manifest = write_corpus(local_store, tiny_texts(10), shard_rows=10)
    recipe = tiny_recipe(local_store, {"a": TEACHER, "b": TEACHER | {"weight": 2.0}}, part_rows=4)
    first, second = plan_harvest(local_store, recipe, manifest, ["a", "b"])
    assert len(first.pending) == 3
    assert second.pending == []
    assert len(second.parts) == 3
