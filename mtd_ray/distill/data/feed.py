"""From a recipe's stage to its batches, read ahead."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.data.owners import Owners
from mtd_ray.distill.data.prefetch import Prefetcher
from mtd_ray.distill.data.reader import BatchReader
from mtd_ray.distill.data.sampler import Sampler
from mtd_ray.distill.data.shards import ShardLoader, ShardsInPlay, States
from mtd_ray.distill.data.windows import TextEncoder, WindowReader
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
    packed: bool = False,
    pinned: bool = False,
    states: States | None = None,
) -> Iterator[Iterator[Batch]]:
    """The batches of consecutive steps of a stage, as one of ``workers`` workers sees them.

    Args:
        stage: position in the recipe.
        steps: those to do; what comes after them is not read.
        tokenizer: of the student.
        packed: whether this device embeds rows without padding (:func:`mtd_ray.distill.data.split.split_batch`).
        pinned: put batches into page-locked memory: for a GPU.
        states: of the frozen trunk, filled for these steps; texts are then not tokenised.

    Raises:
        CorpusError, TargetError, TrainingError: from the iteration: a shard, its targets or its states are missing or damaged.
        TrainingError: the corpus is smaller than a batch.
    """
    if not steps:
        yield iter(())
        return
    loader = ShardLoader(store, manifest, stage_targets(store, recipe, stage), states)
    sampler = stage_sampler(recipe, manifest, stage)
    owners = Owners(sampler, workers)
    shards = ShardsInPlay(loader.load, sampler, owners, rank=rank, last_group=sampler.groups_of(steps)[-1])
    encoder = stage_encoder(recipe, tokenizer) if states is None else None
    windows = WindowReader(sampler, shards, owners, encoder)
    reader = BatchReader(
        sampler, windows, shards, loader, steps=steps, rank=rank, workers=workers, packed=packed, pinned=pinned
    )  # fmt: skip
    with Prefetcher(reader, steps) as batches:
        yield iter(batches)


def stage_sampler(recipe: Recipe, manifest: Manifest, stage: int) -> Sampler:
    """The sampler of a stage. TrainingError when the corpus is smaller than a batch."""
    return Sampler(
        [shard.rows for shard in manifest.shards],
        batch_size=recipe.stages[stage].batch_size,
        seed=recipe.seed,
        stage=stage,
        shuffle_shards=recipe.train.shuffle_shards,
        length_window=recipe.train.length_window,
    )


def stage_targets(store: ObjectStore, recipe: Recipe, stage: int) -> list[TargetStore]:
    """The target stores of a stage's teachers, in its order."""
    teachers = [recipe.teachers[name] for name in recipe.stage_teachers(recipe.stages[stage])]
    return [TargetStore(store, teacher_fingerprint(t), recipe.harvest.part_rows, t.dimensions) for t in teachers]


def stage_encoder(recipe: Recipe, tokenizer: Any) -> TextEncoder:
    """What turns texts into the student's tokens in a thread."""
    # A copy: where a tokenizer cuts is state of its own, and the original may be used elsewhere meanwhile.
    return TextEncoder(copy.deepcopy(tokenizer), recipe.student.max_tokens, recipe.student.prompts)
