"""Do the stored targets belong to the texts beside them? Asked of the teachers themselves, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtd_ray.config import Kind, LocalTeacher, Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore
from mtd_ray.teachers import open_teacher

_ROWS = 8
_LEAST_COSINE = 0.99


@dataclass(frozen=True)
class _Row:
    shard: Shard
    row: int
    text: str
    kind: Kind
    target: np.ndarray


def local_teachers(recipe: Recipe) -> dict[str, LocalTeacher]:
    """The teachers that a stage uses and that can be asked without an account, by name."""
    used = {name for stage in recipe.stages for name in recipe.stage_teachers(stage)}
    return {name: teacher for name, teacher in recipe.teachers.items() if name in used and isinstance(teacher, LocalTeacher)}


def check_teacher(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str) -> None:
    """Re-embed a few rows with a teacher, in this process and on its device, and compare with what is stored.

    Raises:
        TargetError: a stored vector is not the teacher's for its text; teacher, shard and row are named.
        TeacherError: the teacher cannot be opened or asked.
    """
    teacher = recipe.teachers[name]
    targets = TargetStore(store, teacher_fingerprint(teacher), recipe.harvest.part_rows, teacher.dimensions)
    rows = _some_rows(store, manifest, targets)
    if not rows:
        raise TargetError(f"teacher {name}: none of the rows looked at has a target; harvest it again")
    client = open_teacher(name, teacher)
    try:
        answer = client.embed([row.text for row in rows], [row.kind for row in rows])
    finally:
        client.close()
    for index, row in enumerate(rows):
        cosine = 0.0 if index in answer.failures else _cosine(answer.vectors[index], row.target)
        if cosine < _LEAST_COSINE:
            raise TargetError(
                f"teacher {name}, shard {row.shard.index}, row {row.row}: the stored target is not this text's "
                f"(cosine {cosine:.3f} with the teacher's answer now, expected over {_LEAST_COSINE}); "
                f"the store holds another model's or another corpus's vectors: delete the teacher's targets and harvest again"
            )


def _some_rows(store: ObjectStore, manifest: Manifest, targets: TargetStore) -> list[_Row]:
    """A few valid rows, spread evenly over the first and the last shard."""
    shards = dict.fromkeys((manifest.shards[0], manifest.shards[-1]))
    rows: list[_Row] = []
    for shard in shards:
        table = read_shard(store, shard)
        vectors, valid = targets.read_shard(shard, table["id"].to_pylist())
        usable = np.flatnonzero(valid)
        for row in usable[np.unique(np.linspace(0, len(usable) - 1, _ROWS // len(shards)).astype(int))] if len(usable) else ():
            text, kind = table["text"][int(row)].as_py(), table["kind"][int(row)].as_py()
            rows.append(_Row(shard, int(row), text, kind, vectors[row].astype(np.float32)))
    return rows


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))
