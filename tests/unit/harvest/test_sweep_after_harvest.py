"""Left-over files of a harvest whose driver was killed at its very end."""

from __future__ import annotations

import numpy as np

from mtd_ray import layout
from mtd_ray.config import teacher_fingerprint
from mtd_ray.harvest import harvest
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part, write_teacher_description
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus


def test_a_harvest_with_nothing_left_to_ask_deletes_what_dead_attempts_left(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, {"t": {"provider": "local", "model": "m", "dimensions": 4}}, part_rows=4)
    teacher = teacher_fingerprint(recipe.teachers["t"])
    manifest = write_corpus(local_store, tiny_texts(8), 8)
    write_teacher_description(local_store, teacher, {}, 4)
    for part in parts_of(manifest, 4):
        ids = [f"t{row}" for row in range(part.start, part.stop)]
        write_part(local_store, teacher, part, ids, np.ones((4, 4), np.float32), {}, tokens=1, requests=1, seconds=0.1)
    orphan = layout.part_data(teacher, manifest.shards[0].sha256, 0, "dead")
    local_store.put(orphan, b"vectors")
    assert harvest(local_store, recipe, manifest)["t"].parts_already_there == 2
    assert not local_store.exists(orphan)
    assert len(list(local_store.list(layout.parts_data(teacher)))) == 2
