"""Texts that training did not see and whose vectors of every teacher are in storage already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtd_ray.config import Kind, Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard, read_pairs, read_shard
from mtd_ray.distill.data.feed import stage_sampler
from mtd_ray.evaluate.models import Asked, MeasuredTeacher, TextEncoder
from mtd_ray.evaluate.models.base import Side
from mtd_ray.evaluate.tasks.texts import RetrievalTexts
from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.targets import TargetStore

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_MOST_TEXTS = 2_000
_MOST_SHARDS = 8
_SIDES: dict[Kind, Side] = {"query": "query", "passage": "document", "sentence": None}


@dataclass(frozen=True, eq=False)
class UnseenTexts:
    """``texts``, for what each is ``asked``, and per teacher the vectors of all of them, ``(texts, size)`` float32."""

    texts: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    targets: dict[str, Vectors] = field(default_factory=dict)

    def embedded(self, encoder: TextEncoder) -> dict[int, Vectors]:
        """A model's vectors of the texts, by size."""
        vectors = {size: np.zeros((len(self.texts), size), np.float32) for size in encoder.sizes}
        for asked in dict.fromkeys(self.asked):
            rows = [row for row, other in enumerate(self.asked) if other == asked]
            for size, found in encoder.encode([self.texts[row] for row in rows], asked).items():
                vectors[size][rows] = found
        return vectors

    def complete(self, known: NDArray[np.bool_]) -> UnseenTexts:
        """Of the texts those that every teacher has a vector of."""
        rows = np.flatnonzero(known).tolist()
        return UnseenTexts(
            tuple(self.texts[row] for row in rows),
            tuple(self.asked[row] for row in rows),
            {name: vectors[rows] for name, vectors in self.targets.items()},
        )


def unseen_texts(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> UnseenTexts:
    """The evaluation pairs' texts, as far as the teachers were measured on them; without such, texts of the corpus that no stage
    has drawn. At most 2,000.
    """
    found = _of_pairs(store, recipe, manifest)
    return found if found.texts else _of_corpus(store, recipe, manifest)


def _of_pairs(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> UnseenTexts:
    texts: list[str] = []
    asked: list[Asked] = []
    each = _MOST_TEXTS // 2 // max(len(manifest.pairs), 1)
    for name, key in manifest.pairs.items():
        pairs = RetrievalTexts.from_pairs(name, read_pairs(store, key, manifest.pairs_sha256[name]))
        for side, own in (("query", pairs.queries[:each]), ("document", pairs.passages[:each])):
            texts += own
            asked += [Asked(name, "Retrieval", side)] * len(own)  # type: ignore[arg-type]
    found, known = UnseenTexts(tuple(texts), tuple(asked)), np.ones(len(texts), np.bool_)
    for name in recipe.used_teachers:
        teacher = MeasuredTeacher(name, recipe.teachers[name])
        found.targets[name], there = _kept(store, teacher, found)
        known &= there
    return found.complete(known)


def _kept(store: ObjectStore, teacher: MeasuredTeacher, texts: UnseenTexts) -> tuple[Vectors, NDArray[np.bool_]]:
    vectors = np.zeros((len(texts.texts), teacher.config.dimensions), np.float32)
    known = np.ones(len(texts.texts), np.bool_)
    for asked in dict.fromkeys(texts.asked):
        rows = np.flatnonzero([other == asked for other in texts.asked])
        vectors[rows], unknown = teacher.kept(store, [texts.texts[row] for row in rows], asked)
        known[rows[unknown]] = False
    return vectors, known


def _of_corpus(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> UnseenTexts:
    parts = [_of_shard(store, recipe, shard, rows) for shard, rows in _undrawn(recipe, manifest)]
    if not parts:
        return UnseenTexts()
    targets = {name: np.concatenate([part.targets[name] for part in parts]) for name in recipe.used_teachers}
    texts, asked = (tuple(value for part in parts for value in getattr(part, name)) for name in ("texts", "asked"))
    return UnseenTexts(texts, asked, targets)


def _undrawn(recipe: Recipe, manifest: Manifest) -> list[tuple[Shard, NDArray[np.int64]]]:
    """Rows of the first shards that have some; about 2,000 in all."""
    found = []
    for shard, drawn in zip(manifest.shards, drawn_rows(recipe, manifest), strict=True):
        if len(rows := np.flatnonzero(~drawn)):
            found.append((shard, rows))
        if len(found) == _MOST_SHARDS:
            break
    return [(shard, rows[: _MOST_TEXTS // len(found)]) for shard, rows in found]


def drawn_rows(recipe: Recipe, manifest: Manifest) -> list[NDArray[np.bool_]]:
    """Per shard, which rows a stage may have drawn: all of a window from which a batch is cut."""
    starts = np.cumsum([0, *(shard.rows for shard in manifest.shards)])
    drawn = np.zeros(starts[-1], np.bool_)
    for number, stage in enumerate(recipe.stages):
        sampler = stage_sampler(recipe, manifest, number)
        if stage.steps >= sampler.batches_per_pass:
            drawn[:] = True
            break
        for window in range(sampler.window(stage.steps - 1)[0] + 1):
            shards, rows = sampler.rows(window).T
            drawn[starts[shards] + rows] = True
    return np.split(drawn, starts[1:-1])


def _of_shard(store: ObjectStore, recipe: Recipe, shard: Shard, rows: NDArray[np.int64]) -> UnseenTexts:
    table = read_shard(store, shard)
    ids, chosen = table["id"].to_pylist(), table.take(rows)
    asked = tuple(Asked("", "Retrieval" if _SIDES[kind] else "STS", _SIDES[kind]) for kind in chosen["kind"].to_pylist())
    found, known = UnseenTexts(tuple(chosen["text"].to_pylist()), asked), np.ones(len(rows), np.bool_)
    for name in recipe.used_teachers:
        teacher = recipe.teachers[name]
        stored = TargetStore(store, teacher_fingerprint(teacher), recipe.harvest.part_rows, teacher.dimensions)
        vectors, valid = stored.read_shard(shard, ids)
        found.targets[name] = vectors[rows].astype(np.float32)
        known &= valid[rows]
    return found.complete(known)
