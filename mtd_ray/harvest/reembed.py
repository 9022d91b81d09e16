"""Do the stored targets belong to the texts beside them? Asked of the teacher itself, for a few rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pyarrow as pa

from mtd_ray.config import Kind, Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, TargetStore
from mtd_ray.teachers import Budget, TeacherError, open_teacher

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

    The rows are drawn by the recipe's seed and the teacher, the same ones every time; only the parts they stand in are read.

    Args:
        name: the teacher's in the recipe.
        rows: at most so many, spread over all shards, or over so many shards; a teacher behind an API is paid for them.
        budget: the cap on dollars, shared with others.

    Returns:
        Each row's cosine of its stored and its new vector.

    Raises:
        TargetError: a stored vector is not the teacher's for its text; teacher, shard and row are named.
        TeacherError: the teacher cannot be opened or asked, or gives no vector.
    """
    teacher = recipe.teachers[name]
    fingerprint = teacher_fingerprint(teacher)
    targets = TargetStore(store, fingerprint, recipe.harvest.part_rows, teacher.dimensions)
    drawn = _drawn(manifest.shards, rows, Random(f"{recipe.seed} {fingerprint}"))
    sample = [row for shard, places in drawn for row in _rows_of_shard(store, targets, shard, places)]
    if not sample:
        raise TargetError(f"teacher {name}: none of the rows looked at has a target; harvest it again")
    client = open_teacher(name, teacher, budget=budget)
    try:
        answer = client.embed([row.text for row in sample], [row.kind for row in sample])
    finally:
        client.close()
    for index, reason in answer.failures.items():
        row = sample[index]
        raise TeacherError(f"teacher {name}, shard {row.shard.index}, row {row.row}: no vector for a text that had one: {reason}")
    found = [_cosine(vector, row.target) for vector, row in zip(answer.vectors, sample, strict=True)]
    for row, cosine in zip(sample, found, strict=True):
        if cosine < LEAST_COSINE:
            raise TargetError(
                f"teacher {name}, shard {row.shard.index}, row {row.row}: the stored target is not this text's "
                f"(cosine {cosine:.3f} with the teacher's answer now, expected over {LEAST_COSINE}); "
                f"the store holds another model's or another corpus's vectors: delete the teacher's targets and harvest again"
            )
    return found


def _drawn(shards: Sequence[Shard], count: int, random: Random) -> list[tuple[Shard, list[int]]]:
    """Up to ``count`` rows, as many of one shard as of another, in corpus order."""
    chosen = sorted(random.sample(range(len(shards)), min(count, len(shards))))
    drawn = []
    for place, index in enumerate(chosen):
        share = len(range(place, count, len(chosen)))
        drawn.append((shards[index], random.sample(range(shards[index].rows), min(share, shards[index].rows))))
    return drawn


def _rows_of_shard(store: ObjectStore, targets: TargetStore, shard: Shard, places: Sequence[int]) -> Iterator[_Row]:
    texts = read_shard(store, shard)
    for part in targets.parts(shard):
        within = [place - part.start for place in places if part.start <= place < part.stop]
        if within:
            yield from _rows_of_part(targets, part, texts.slice(part.start, part.rows), within)


def _rows_of_part(targets: TargetStore, part: Part, texts: pa.Table, places: Sequence[int]) -> Iterator[_Row]:
    """The rows at these places; in place of one without a vector, the next that has one."""
    decoded = targets.read_part(part, texts["id"].to_pylist())
    usable = np.flatnonzero(decoded.valid)
    if not len(usable):
        return
    for row in np.unique(usable[np.searchsorted(usable, places) % len(usable)]).tolist():
        text, kind = texts["text"][row].as_py(), texts["kind"][row].as_py()
        yield _Row(part.shard, part.start + row, text, kind, decoded.vectors[row].astype(np.float32))


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))
