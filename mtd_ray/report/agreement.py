"""How close each head of the student is to the teachers' target, on texts that training did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mtd_ray.config import Recipe, StageConfig
from mtd_ray.distill.basis import load_or_fit
from mtd_ray.distill.fusion import FusedTarget, TargetSpec, fuse, needed_bases
from mtd_ray.evaluate.models.base import Access, Measured
from mtd_ray.losses import HeadTarget
from mtd_ray.losses.vectors import unit_rows
from mtd_ray.report.data import Agreement
from mtd_ray.report.unseen import UnseenTexts, unseen_texts

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest
    from mtd_ray.objects import ObjectStore

_NEIGHBOURS = 10


def agreements(store: ObjectStore, recipe: Recipe, manifest: Manifest, student: Measured) -> tuple[Agreement, ...]:
    """One per head, by size; none where there are no such texts with a vector of every teacher.

    A head is compared with the target of the last stage that trains it, one that no stage names (a beginning of a larger one) with
    that of the last stage of all. No teacher is asked: the texts are those whose vectors are
    kept.

    Args:
        student: with all of its heads.
    """
    found = unseen_texts(store, recipe, manifest)
    if len(found.texts) <= _NEIGHBOURS:
        return ()
    with student.open(store, Access()) as encoder:
        vectors = found.embedded(encoder)
    targets: dict[str, FusedTarget] = {}
    outcome = []
    for size, stage in sorted(_last_stages(recipe).items()):
        if stage.name not in targets:
            targets[stage.name] = _target(store, recipe, manifest, stage, found)
        outcome.append(_agreement(size, torch.from_numpy(vectors[size]), targets[stage.name]))
    return tuple(outcome)


def _last_stages(recipe: Recipe) -> dict[int, StageConfig]:
    named = {head: stage for stage in recipe.stages for head in stage.heads}
    return {head: named.get(head, recipe.stages[-1]) for head in recipe.student.heads}


def _target(store: ObjectStore, recipe: Recipe, manifest: Manifest, stage: StageConfig, found: UnseenTexts) -> FusedTarget:
    bases = {size: load_or_fit(store, recipe, manifest, stage, size) for size in needed_bases(recipe, stage)}
    names = recipe.stage_teachers(stage)
    blocks = [torch.from_numpy(found.targets[name]) for name in names]
    return fuse(TargetSpec.of(recipe, stage, bases), blocks, torch.ones(len(found.texts), len(names), dtype=torch.bool))


def _agreement(size: int, vectors: Tensor, target: FusedTarget) -> Agreement:
    own = target.heads().get(size)
    cosine = None if own is None else mean_cosine(vectors, own)
    return Agreement(size, cosine, neighbour_overlap(vectors, target.whole), len(vectors))


def mean_cosine(vectors: Tensor, target: HeadTarget) -> float:
    """Mean over rows; where a number of the target is not known, the vector's is left out too."""
    known = vectors if target.present is None else torch.where(target.present, vectors, 0.0)
    return float((unit_rows(known) * unit_rows(target.vectors)).sum(dim=-1).mean())


def neighbour_overlap(vectors: Tensor, others: Tensor, count: int = _NEIGHBOURS) -> float:
    """Mean share of a row's ``count`` nearest rows by cosine, itself left out, that are the same in both.

    Args:
        vectors, others: ``(m, size)`` of the same texts, of any sizes; m is more than ``count``.
    """
    nearest = [_nearest(rows, count) for rows in (vectors, others)]
    return float((nearest[0][:, :, None] == nearest[1][:, None, :]).any(dim=-1).float().mean())


def _nearest(vectors: Tensor, count: int) -> Tensor:
    units = unit_rows(vectors)
    cosines = (units @ units.T).fill_diagonal_(-torch.inf)
    return cosines.topk(count, dim=-1).indices
