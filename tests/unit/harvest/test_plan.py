from __future__ import annotations

from itertools import groupby
from random import Random

import numpy as np
import pytest

from mtd_ray.errors import RecipeError
from mtd_ray.harvest.plan import in_random_order, plan_harvest, require_teachers
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part
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


@pytest.mark.parametrize(("name", "tells"), [("bgee", "did you mean 'bge'"), ("xyz", "known: bge, paid")])
def test_a_teacher_the_recipe_does_not_have_is_a_recipe_error(local_store: ObjectStore, name: str, tells: str) -> None:
    recipe = tiny_recipe(local_store, {"bge": TEACHER, "paid": TEACHER})
    require_teachers(recipe, ["paid", "bge"])
    with pytest.raises(RecipeError, match=tells):
        require_teachers(recipe, ["paid", name])


def test_two_drivers_ask_in_different_orders_and_keep_shards_together(local_store: ObjectStore) -> None:
    parts = parts_of(write_corpus(local_store, tiny_texts(120), shard_rows=30), 5)
    first, second = (in_random_order(parts, Random(seed)) for seed in (1, 2))
    assert first != second
    for order in (first, second):
        assert sorted(order, key=parts.index) == parts
        assert len(list(groupby(part.shard.index for part in order))) == 4
