"""Several teachers' vectors → one target (arXiv 2412.19048, section 3.1).

``t = norm(concat(√w₁·norm(teacher₁), √w₂·norm(teacher₂), …))``. With unit blocks a target cosine is the weighted mean of the
teachers' cosines, so a teacher's weight is its share of the vote. Where a teacher has no vector for a text, the mean is taken over
the teachers that have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.config import Recipe, StageConfig
from mtd_ray.losses import HeadTarget

Layout = tuple[tuple[str, int], ...]
"""Whose numbers stand where in a vector: teacher and size, one after the other."""


@dataclass(frozen=True, eq=False)
class TargetSpec:
    """How a stage's target is made of its teachers' stored vectors.

    Attributes:
        teachers: names, in the order in which their vectors are concatenated.
        weights: per teacher, its share of the vote; above 0.
        sizes: per teacher, the size of its part of the target; its stored vectors may be longer.
        shorten: per teacher, how they then become that short.
        layouts: per head that is compared with teachers' own numbers, whose stand where.
        bases: per head that is compared with the target's principal directions, these: ``(D, head)`` float32, D = sum of ``sizes``.
    """

    teachers: tuple[str, ...]
    weights: tuple[float, ...]
    sizes: tuple[int, ...]
    shorten: tuple[Literal["cut", "fold"], ...]
    layouts: Mapping[int, Layout]
    bases: Mapping[int, Tensor]

    @classmethod
    def of(cls, recipe: Recipe, stage: StageConfig, bases: Mapping[int, Tensor]) -> TargetSpec:
        """A stage's.

        Args:
            bases: of the heads that :func:`needed_bases` names.
        """
        layouts = {head: recipe.head_layout(stage, head) for head in stage.heads}
        return replace(
            cls.of_teachers(recipe, recipe.stage_teachers(stage)),
            layouts={head: layout for head, layout in layouts.items() if layout is not None},
            bases={head: bases[head] for head in needed_bases(recipe, stage)},
        )

    @classmethod
    def of_teachers(cls, recipe: Recipe, names: Sequence[str]) -> TargetSpec:
        """Of teachers alone, without any head."""
        teachers = [recipe.teachers[name] for name in names]
        return cls(
            teachers=tuple(names),
            weights=tuple(teacher.weight for teacher in teachers),
            sizes=tuple(teacher.part_dimensions for teacher in teachers),
            shorten=tuple(teacher.target_shorten for teacher in teachers),
            layouts={},
            bases={},
        )

    def on(self, device: torch.device) -> TargetSpec:
        """The same, with the bases on a device."""
        return replace(self, bases={head: basis.to(device) for head, basis in self.bases.items()})


def needed_bases(recipe: Recipe, stage: StageConfig) -> tuple[int, ...]:
    """The heads of a stage that are compared with the target's principal directions (:mod:`mtd_ray.distill.basis`)."""
    return tuple(head for head, losses in stage.heads.items() if losses.target == "pca" and losses.is_pointwise)


class FusedTarget:
    """What a batch of m texts is distilled towards. Each text has a vector of one teacher at least.

    Attributes:
        whole: ``(m, D)`` float32 unit rows; zeros in the block of a teacher that has no vector for the row.
        finite: ``(m, teachers)`` bool, False where a teacher's vector holds something that is not a number. It spoils the rest.
    """

    def __init__(self, spec: TargetSpec, scaled: Tensor, valid: Tensor) -> None:
        self._spec, self._scaled, self._valid = spec, scaled, valid
        self._valid_there = valid.to(scaled.device, non_blocking=True)
        self._blocks = dict(zip(spec.teachers, torch.split(scaled, list(spec.sizes), dim=-1), strict=True))
        self.whole = F.normalize(scaled, dim=-1)
        self.finite = torch.stack([block.sum(dim=-1) for block in self._blocks.values()], dim=-1).isfinite()

    @cached_property
    def similarity(self) -> Tensor:
        """``(m, m)`` float32 cosines; NaN for two texts that no teacher has both of."""
        votes = self._valid_there.float()
        shares = (votes * torch.tensor(self._spec.weights).to(votes.device, non_blocking=True)) @ votes.T
        # 0 / 0 is the NaN that the losses know as "no teacher can score this pair".
        return (self._scaled @ self._scaled.T) / shares

    def rows_of(self, teacher: str) -> int:
        """How many of the texts a teacher has a vector for; 0 for one that is not in the stage."""
        return int(self._valid[:, self._spec.teachers.index(teacher)].sum()) if teacher in self._spec.teachers else 0

    def heads(self) -> dict[int, HeadTarget]:
        """The targets of the heads that have one."""
        by_layout = {head: self._laid_out(layout) for head, layout in self._spec.layouts.items()}
        return by_layout | {head: self._projected(basis) for head, basis in self._spec.bases.items()}

    def _laid_out(self, layout: Layout) -> HeadTarget:
        """Blocks of the teachers in their places, the free places zero, scaled to length 1."""
        spec = self._spec
        if layout == tuple(zip(spec.teachers, spec.sizes, strict=True)):
            return HeadTarget(self.whole, self._present(layout))
        parts = [self._part(name, size) for name, size in layout]
        return HeadTarget(F.normalize(torch.cat(parts, dim=-1), dim=-1), self._present(layout))

    def _part(self, teacher: str, size: int) -> Tensor:
        if teacher not in self._blocks:
            return self.whole.new_zeros(len(self.whole), size)
        weight = self._spec.weights[self._spec.teachers.index(teacher)]
        return unit_blocks(self._blocks[teacher], size, "cut").mul(weight**0.5)

    def _present(self, layout: Layout) -> Tensor | None:
        if self._valid.all() and all(name in self._blocks for name, _ in layout):
            return None
        nowhere = torch.zeros_like(self._valid_there[:, 0])
        there = dict(zip(self._spec.teachers, self._valid_there.unbind(dim=-1), strict=True))
        return torch.cat([there.get(name, nowhere)[:, None].expand(-1, size) for name, size in layout], dim=-1)

    def _projected(self, basis: Tensor) -> HeadTarget:
        """The whole target along the basis. A row that misses a teacher would be projected as if that teacher said nothing."""
        vectors = F.normalize(self.whole @ basis, dim=-1)
        if self._valid.all():
            return HeadTarget(vectors, None)
        complete = self._valid_there.all(dim=-1, keepdim=True)
        return HeadTarget(torch.where(complete, vectors, 0.0), complete.expand_as(vectors))


def fuse(spec: TargetSpec, blocks: Sequence[Tensor], valid: Tensor) -> FusedTarget:
    """Fuse per-teacher vectors, on the device where they are.

    Args:
        spec: of the stage.
        blocks: per teacher ``(m, stored size)``, any float type, any length; rows that are not valid are ignored.
        valid: ``(m, teachers)`` bool, on the CPU; every row is valid for at least one teacher.
    """
    there = valid.to(blocks[0].device, non_blocking=True)
    parts = [
        torch.where(there[:, column, None], weight**0.5 * unit_blocks(block, size, how), 0.0)
        for column, (block, weight, size, how) in enumerate(zip(blocks, spec.weights, spec.sizes, spec.shorten, strict=True))
    ]
    return FusedTarget(spec, torch.cat(parts, dim=-1), valid)


def unit_blocks(vectors: Tensor, size: int, how: Literal["cut", "fold"]) -> Tensor:
    """Vectors ``(m, stored size)`` → float32 unit rows ``(m, size)``, ``size`` ≤ stored size; a zero row stays zero.

    As :func:`mtd_ray.teachers.shorten.shorten`: ``cut`` keeps the first numbers, ``fold`` adds up whole chunks of ``size`` numbers.
    """
    chunks = vectors.shape[1] // size if how == "fold" else 1
    short = vectors[:, : chunks * size].float().reshape(len(vectors), chunks, size).sum(dim=1)
    return F.normalize(short, dim=-1)
