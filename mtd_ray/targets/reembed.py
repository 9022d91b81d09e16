"""Do the stored targets belong to the texts beside them? Asked of the teacher itself, for a few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtd_ray.config import Kind, Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets.read import TargetStore
from mtd_ray.teachers import Budget, open_teacher

LEAST_COSINE = 0.99
"""A teacher's vector for a text, asked twice, is at least this similar."""


@dataclass(frozen=True)
class _Row:
    shard: Shard
    row: int
    text: str
    kind: Kind
    target: np.ndarray


def reembed(
    store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str, *, rows: int = 8, budget: Budget | None = None
) -> list[float]:
    """Embed a few rows again with a teacher, in this process and on its device, and compare with what is stored.

    Args:
        name: the teacher's in the recipe.
        rows: at most so many, spread evenly over the first and the last shard; a teacher behind an API is paid for them.
        budget: the cap on dollars, shared with others.

    Returns:
        Each row's cosine of its stored and its new vector.

    Raises:
        TargetError: a stored vector is not the teacher's for its text; teacher, shard and row are named.
        TeacherError: the teacher cannot be opened or asked.
    """
    teacher = recipe.teachers[name]
    targets = TargetStore(store, teacher_fingerprint(teacher), recipe.harvest.part_rows, teacher.dimensions)
    sample = _some_rows(store, manifest, targets, rows)
    if not sample:
        raise TargetError(f"teacher {name}: none of the rows looked at has a target; harvest it again")
    client = open_teacher(name, teacher, budget=budget)
    try:
        answer = client.embed([row.text for row in sample], [row.kind for row in sample])
    finally:
        client.close()
    found = [0.0 if index in answer.failures else _cosine(answer.vectors[index], row.target) for index, row in enumerate(sample)]
    for row, cosine in zip(sample, found, strict=True):
        if cosine < LEAST_COSINE:
            raise TargetError(
                f"teacher {name}, shard {row.shard.index}, row {row.row}: the stored target is not this text's "
                f"(cosine {cosine:.3f} with the teacher's answer now, expected over {LEAST_COSINE}); "
                f"the store holds another model's or another corpus's vectors: delete the teacher's targets and harvest again"
            )
    return found


def _some_rows(store: ObjectStore, manifest: Manifest, targets: TargetStore, count: int) -> list[_Row]:
    """Valid rows, spread evenly over the first and the last shard."""
    shards = list(dict.fromkeys((manifest.shards[0], manifest.shards[-1])))[:count]
    rows: list[_Row] = []
    for shard in shards:
        table = read_shard(store, shard)
        vectors, valid = targets.read_shard(shard, table["id"].to_pylist())
        usable = np.flatnonzero(valid)
        for row in usable[np.unique(np.linspace(0, len(usable) - 1, count // len(shards)).astype(int))] if len(usable) else ():
            text, kind = table["text"][int(row)].as_py(), table["kind"][int(row)].as_py()
            rows.append(_Row(shard, int(row), text, kind, vectors[row].astype(np.float32)))
    return rows


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))
