"""One training step in plain PyTorch: no Ray, no DeepSpeed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtd_ray.config import StageConfig
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.embed import embed_rows
from mtd_ray.distill.fusion import FusedTarget, TargetSpec, fuse
from mtd_ray.distill.gather import exchange_rows, gather_rows
from mtd_ray.errors import TrainingError
from mtd_ray.losses import HeadTarget, PairOrder, matryoshka_loss
from mtd_ray.student import Student

_NAMES_SHOWN = 10


class Engine(Protocol):
    """What drives a step: DeepSpeed in a run, or plain PyTorch (:class:`mtd_ray.distill.plain.PlainEngine`)."""

    module: Distillation

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts."""

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, averaged over workers."""

    def step(self) -> float:
        """Clip, update, forget the gradients. Returns the gradients' norm before clipping."""


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        loss: of the whole batch.
        parts: of the whole batch, unweighted, by ``head/loss``; and by ``head/cosine/teacher`` the mean of ``1 − cos`` between a
            head's numbers for a teacher and that teacher's vectors, where the head is compared with those (target ``whole`` or
            ``cut`` and a loss of cosine, angular or l2).
        gradient_norm: before clipping.
        rows: of the whole batch.
        tokens, padded_tokens: that this worker embedded, without and with padding; 0 when the trunk's outputs came from a cache.
        missing: targets of the whole batch, one per row and teacher, that there are none of.
    """

    loss: float
    parts: dict[str, float]
    gradient_norm: float
    rows: int
    tokens: int
    padded_tokens: int
    missing: int = 0


class Distillation(nn.Module):
    """Student and losses of one stage as one module, so that a data-parallel engine can wrap it.

    Args:
        student: frozen as the stage says.
        stage: heads, loss weights and margin.
        target: how the stage's target is made.
        micro_batch_tokens: how much a worker embeds at a time (:func:`mtd_ray.distill.embed.embed_rows`).

    Attributes:
        padded_tokens: that this worker computed in its last forward pass.
        missing: targets, one per row and teacher, that the last batch had none of.
        answered: ``(rows with a target,)`` their positions in the last batch, on the CPU.
        finite: ``(rows with a target, teachers)`` bool, False where a target of the last batch is not a vector of finite numbers.
    """

    answered: Tensor
    finite: Tensor

    def __init__(self, student: Student, stage: StageConfig, target: TargetSpec, micro_batch_tokens: int) -> None:
        super().__init__()
        self.student = student
        self.stage = stage
        self.target = target
        self.micro_batch_tokens = micro_batch_tokens
        self.padded_tokens = 0
        self.missing = 0

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The stage's loss over the whole batch, the same on every worker, and its detached parts by ``head/loss``."""
        device = next(self.student.parameters()).device
        target = self._fused(batch, device)
        # Depends on targets alone, and the host waits for it: later, it would wait for the student too.
        order = PairOrder.from_similarity(target.similarity) if target is not None and self._ranks else None
        pooled = gather_rows(self._pooled(batch, device), batch.shares)
        if len(self.answered) < len(batch.ids):
            pooled = pooled[self.answered.to(device, non_blocking=True)]
        outputs = self.student.project(pooled, list(self.stage.heads))
        if target is None:
            return torch.stack([vectors.sum() for vectors in outputs.values()]).sum(), {}
        targets = target.heads()
        weights = {head: losses.weights for head, losses in self.stage.heads.items()}
        loss, parts = matryoshka_loss(outputs, weights, target.similarity, order, targets, margin=self.stage.ranking_margin)
        return loss, parts | self._teacher_cosines(outputs, target, targets)

    @property
    def _ranks(self) -> bool:
        return any("ranking" in losses.weights for losses in self.stage.heads.values())

    def _fused(self, batch: Batch, device: torch.device) -> FusedTarget | None:
        """The target of the rows that any teacher has; None when there are none. Notes what is missing."""
        valid = _exchanged_valid(batch, device)
        blocks = [exchange_rows(block.to(device, non_blocking=True), batch.owners) for block in batch.blocks]
        self.missing = int(valid.numel() - valid.sum())
        self.answered = valid.any(dim=-1).nonzero()[:, 0]
        self.finite = torch.ones(0, len(blocks), dtype=torch.bool, device=device)
        if len(self.answered) == 0:
            return None
        if len(self.answered) < len(valid):
            rows = self.answered.to(device, non_blocking=True)
            blocks, valid = [block[rows] for block in blocks], valid[self.answered]
        self.target = self.target.on(device)
        fused = fuse(self.target, blocks, valid)
        self.finite = fused.finite
        return fused

    def _pooled(self, batch: Batch, device: torch.device) -> Tensor:
        """This worker's rows ``(rows, hidden)``, from the trunk or from its cache."""
        if batch.pooled is not None:
            self.padded_tokens = 0
            return batch.pooled.to(device, non_blocking=True)
        pooled, self.padded_tokens = embed_rows(self.student, batch.token_ids, self.micro_batch_tokens)
        return pooled

    @torch.no_grad()
    def _teacher_cosines(
        self, outputs: dict[int, Tensor], target: FusedTarget, targets: dict[int, HeadTarget]
    ) -> dict[str, Tensor]:
        parts = {}
        for head, layout in self.target.layouts.items():
            sizes = [size for _, size in layout]
            blocks = zip(torch.split(outputs[head], sizes, dim=-1), torch.split(targets[head].vectors, sizes, dim=-1), strict=True)
            for (teacher, _), (student, wanted) in zip(layout, blocks, strict=True):
                # Rows that the teacher has no vector for are zero, and so is their cosine.
                if rows := target.rows_of(teacher):
                    parts[f"{head}/cosine/{teacher}"] = 1.0 - F.cosine_similarity(student, wanted, dim=-1).sum() / rows
        return parts


def training_step(engine: Engine, batch: Batch, where: str) -> StepResult:
    """Forward, backward, finite check, update.

    Args:
        engine: the stage's engine.
        batch: of this step.
        where: the stage and step, for messages.

    Raises:
        TrainingError: a target, a loss part or the gradient is not finite; the weights are as they were before the step.
    """
    loss, parts = engine.forward(batch)
    module = engine.module
    scalars = _Readout([loss.detach(), *parts.values(), module.finite.all()])
    engine.backward(loss)
    total, *values, finite = scalars.read()
    if not finite:
        raise TrainingError(_spoilt_targets(module, batch, where))
    named = dict(zip(parts, values, strict=True))
    for name, value in named.items():
        _check_finite(value, f"the loss {name}", where, batch)
    _check_finite(total, "the loss", where, batch)
    norm = engine.step()
    _check_finite(norm, "the gradient", where, batch)
    tokens = sum(len(ids) for ids in batch.token_ids)
    return StepResult(total, named, norm, len(batch.ids), tokens, module.padded_tokens, module.missing)


class _Readout:
    """Scalars on their way to the host in one transfer, which a GPU makes while it goes on with what is queued next."""

    def __init__(self, scalars: list[Tensor]) -> None:
        values = torch.stack([scalar.float() for scalar in scalars])
        self._values = values.to("cpu", non_blocking=True)
        self._arrived = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def read(self) -> list[float]:
        """Wait for them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        values: list[float] = self._values.tolist()
        return values


def _exchanged_valid(batch: Batch, device: torch.device) -> Tensor:
    """Which targets of the whole batch there are: ``(batch, teachers)`` bool, on the CPU, where the next decisions are made."""
    local = torch.stack(batch.valid, dim=-1)
    return local if len(batch.owners) == 1 else exchange_rows(local.to(device), batch.owners).cpu()


def _spoilt_targets(module: Distillation, batch: Batch, where: str) -> str:
    spoilt = [
        f"{batch.ids[module.answered[row]]} ({module.target.teachers[teacher]})"
        for row, teacher in (~module.finite).nonzero().tolist()
    ]
    return (
        f"{where}: these targets are not finite numbers; training stopped before the weights were changed. Delete the parts that "
        f"hold them and harvest them again: {_listed(spoilt)}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _check_finite(value: float, what: str, where: str, batch: Batch) -> None:
    if math.isfinite(value):
        return
    raise TrainingError(
        f"{where}: {what} is {value}; training stopped before the weights were changed. Lower lr, or look at the rows of this "
        f"batch: {_listed(batch.ids)}"
    )
