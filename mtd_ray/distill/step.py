"""One training step in plain PyTorch: no Ray, no DeepSpeed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mtd_ray.config import StageConfig
from mtd_ray.distill.dataset import Batch
from mtd_ray.distill.embed import embed_rows
from mtd_ray.distill.fusion import Target, fuse
from mtd_ray.distill.gather import gather_rows
from mtd_ray.errors import TrainingError
from mtd_ray.losses import PairOrder, cosine_loss, ranking_loss, similarity_loss
from mtd_ray.student import Student


class Engine(Protocol):
    """What drives a step: DeepSpeed in a run, a plain module and optimizer in a test."""

    module: Distillation

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts."""

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, averaged over workers."""

    def step(self) -> float:
        """Clip, update, forget the gradients. Returns the gradients' norm before clipping."""


@dataclass(frozen=True)
class StepResult:
    """What a step did: losses of the whole batch, unweighted parts by ``head/loss``, and this worker's token counts."""

    loss: float
    parts: dict[str, float]
    gradient_norm: float
    rows: int
    tokens: int
    padded_tokens: int


class Distillation(nn.Module):
    """Student and losses of one stage as one module, so that a data-parallel engine can wrap it.

    Args:
        student: frozen as the stage says.
        stage: heads, loss weights and margin.
        weights: of the stage's teachers, in order.
        micro_batch_tokens: how much a worker embeds at a time (:func:`mtd_ray.distill.embed.embed_rows`).

    Attributes:
        padded_tokens: that this worker computed in its last forward pass.
    """

    def __init__(self, student: Student, stage: StageConfig, weights: Sequence[float], micro_batch_tokens: int) -> None:
        super().__init__()
        self.student = student
        self.stage = stage
        self.weights = tuple(weights)
        self.micro_batch_tokens = micro_batch_tokens
        self.padded_tokens = 0

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The stage's loss over the whole batch, the same on every worker, and its detached parts by ``head/loss``."""
        local, self.padded_tokens = embed_rows(self.student, batch.token_ids, self.micro_batch_tokens)
        pooled = gather_rows(local, batch.shares)
        answered = torch.stack(batch.valid).any(dim=0)
        outputs = self.student.project(pooled[answered.to(pooled.device)], list(self.stage.heads))
        if not answered.any():
            return torch.stack([vectors.sum() for vectors in outputs.values()]).sum(), {}
        return self._losses(outputs, _target(batch, answered, self.weights, pooled.device))

    def _losses(self, outputs: dict[int, Tensor], target: Target) -> tuple[Tensor, dict[str, Tensor]]:
        ranked = any(weights.ranking > 0 for weights in self.stage.heads.values())
        order = PairOrder.from_similarity(target.similarity) if ranked else None
        terms: list[Tensor] = []
        parts: dict[str, Tensor] = {}

        def add(name: str, weight: float, value: Tensor) -> None:
            terms.append(weight * value)
            parts[name] = value.detach()

        for head, weights in self.stage.heads.items():
            vectors = outputs[head]
            if weights.cosine > 0:
                add(f"{head}/cosine", weights.cosine, _cosine(vectors, target))
            if weights.similarity > 0:
                add(f"{head}/similarity", weights.similarity, similarity_loss(vectors, target.similarity))
            if order is not None and weights.ranking > 0:
                add(f"{head}/ranking", weights.ranking, ranking_loss(vectors, order, self.stage.ranking_margin))
        return torch.stack(terms).sum(), parts


def training_step(engine: Engine, batch: Batch, where: str) -> StepResult:
    """Forward, finite check, backward, update.

    Args:
        engine: the stage's engine.
        batch: of this step.
        where: the stage and step, for messages.

    Raises:
        TrainingError: a loss part or the gradient is not finite; the weights are as they were before the step.
    """
    loss, parts = engine.forward(batch)
    names = list(parts)
    values = dict(zip(names, torch.stack([parts[name] for name in names]).tolist(), strict=True)) if parts else {}
    for name, value in values.items():
        _check_finite(value, f"the loss {name}", where, batch)
    total = float(loss.detach())
    _check_finite(total, "the loss", where, batch)
    engine.backward(loss)
    norm = engine.step()
    _check_finite(norm, "the gradient", where, batch)
    tokens = sum(len(ids) for ids in batch.token_ids)
    return StepResult(total, values, norm, rows=len(batch.ids), tokens=tokens, padded_tokens=engine.module.padded_tokens)


def _target(batch: Batch, answered: Tensor, weights: Sequence[float], device: torch.device) -> Target:
    blocks = [block[answered].to(device) for block in batch.blocks]
    valid = [ok[answered].to(device) for ok in batch.valid]
    return fuse(blocks, valid, weights)


def _cosine(vectors: Tensor, target: Target) -> Tensor:
    """Where a teacher has no vector, the student's part of that block is free: only the present blocks are compared."""
    return cosine_loss(vectors if target.present is None else vectors * target.present, target.vectors)


def _check_finite(value: float, what: str, where: str, batch: Batch) -> None:
    if math.isfinite(value):
        return
    raise TrainingError(
        f"{where}: {what} is {value}; training stopped before the weights were changed. Lower lr, or look at the rows of this "
        f"batch: {', '.join(batch.ids)}"
    )
