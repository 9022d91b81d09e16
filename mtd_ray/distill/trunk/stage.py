"""The states that a part of a stage trains on while its trunk is frozen."""

from __future__ import annotations

import copy
import logging
from functools import partial
from typing import Any

import torch
from torch import nn

from mtd_ray.config import Recipe, TrainConfig
from mtd_ray.corpus import Manifest
from mtd_ray.distill.data.feed import stage_encoder, stage_sampler
from mtd_ray.distill.embed import embed_rows
from mtd_ray.distill.trunk.cache import TrunkCache
from mtd_ray.distill.trunk.fill import Embed, fill, worth_caching
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student

_LOG = logging.getLogger(__name__)


def cached_states(
    store: ObjectStore,
    recipe: Recipe,
    manifest: Manifest,
    stage: int,
    *,
    steps: range,
    first: int,
    student: Student,
    device: torch.device,
    rank: int = 0,
    workers: int = 1,
) -> TrunkCache | None:
    """The cache of the student's trunk, filled for these steps. Every worker calls it, before an engine takes the student.

    Args:
        stage: position in the recipe.
        steps: all that the student is frozen like this for.
        first: the first of them to be done.
        student: frozen for these steps, in float32; it stays as it is.
        device: that trains, and runs the trunk in the recipe's number format.
        rank, workers: this worker, and how many share the work.

    Returns:
        None when the trunk is trained, or when the steps are too few for filling a cache to be worth it: then it is run in each.
    """
    sampler = stage_sampler(recipe, manifest, stage)
    if not student.trunk_is_frozen or not worth_caching(sampler, steps):
        return None
    cache = TrunkCache.open(store, student, recipe.train.dtype)
    fill(
        cache,
        store,
        manifest,
        sampler.shards_of(range(first, steps.stop)),
        stage_encoder(recipe, student.tokenizer),
        embed=_embed_on(student, device, recipe.train),
        device=device,
        rank=rank,
        workers=workers,
        told=partial(_LOG.info, "stage %s: the frozen trunk has read %d of this worker's %d shards", recipe.stages[stage].name),
    )
    return cache


def _embed_on(student: Student, device: torch.device, train: TrainConfig) -> Embed:
    """The student's trunk, where it trains and as it trains."""
    trunk = _copy_on(student, device, getattr(torch, train.dtype))
    return lambda token_ids: embed_rows(trunk, token_ids, train.micro_batch_tokens)[0]


def _copy_on(student: Student, device: torch.device, dtype: torch.dtype) -> Student:
    """The student in another format and place. Weights that are there already are shared, and none is in memory once more."""
    placed: dict[int, Any] = {}
    for weight in student.parameters():
        placed[id(weight)] = nn.Parameter(weight.detach().to(device, dtype), requires_grad=False)
    for buffer in student.buffers():
        # The frequencies of rotary positions keep their precision, as they do in training.
        placed[id(buffer)] = buffer.to(device)
    return copy.deepcopy(student, placed)
