"""From a recipe's stage to its batches, read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.distill.batch import Batch
from mtd_ray.distill.prefetch import Prefetcher
from mtd_ray.distill.reader import BatchReader
from mtd_ray.distill.sampler import Sampler
from mtd_ray.distill.shards import ShardCache
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore


@contextmanager
def stage_batches(
    store: ObjectStore,
    recipe: Recipe,
    manifest: Manifest,
    stage: int,
    *,
    steps: range,
    tokenizer: Any,
    rank: int = 0,
    workers: int = 1,
) -> Iterator[Iterator[Batch]]:
    """The batches of consecutive steps of a stage, as one of ``workers`` workers sees them.

    Args:
        stage: position in the recipe.
        steps: of the stage, from the first to be done.
        tokenizer: of the student.

    Raises:
        CorpusError, TargetError: from the iteration: a shard or its targets are missing or damaged.
        TrainingError: the corpus is smaller than a batch.
    """
    teachers = [recipe.teachers[name] for name in recipe.stage_teachers(recipe.stages[stage])]
    targets = [TargetStore(store, teacher_fingerprint(t), recipe.harvest.part_rows, t.dimensions) for t in teachers]
    shards = ShardCache(store, manifest, targets)
    sampler = Sampler(
        [shard.rows for shard in manifest.shards],
        batch_size=recipe.stages[stage].batch_size,
        seed=recipe.seed,
        stage=stage,
        shuffle_shards=recipe.train.shuffle_shards,
        length_window=recipe.train.length_window,
        lengths=shards.lengths,
    )
    student = recipe.student
    reader = BatchReader(
        shards, sampler, tokenizer, max_tokens=student.max_tokens, prompts=student.prompts, rank=rank, workers=workers
    )
    with Prefetcher(reader, steps) as batches:
        yield iter(batches)
