"""All losses of all sizes of a batch (Matryoshka: arXiv 2205.13147; independent heads: arXiv 2412.19048).

Only vectors by size are seen here, so that heads of their own and nested prefixes of one head are trained alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtd_ray.losses.angular import angular_loss
from mtd_ray.losses.cosine import cosine_loss
from mtd_ray.losses.l2 import l2_loss
from mtd_ray.losses.ranking import PairOrder, ranking_losses
from mtd_ray.losses.similarity import similarity_loss
from mtd_ray.losses.spread import spread_loss

_PointwiseLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

_POINTWISE: Mapping[str, _PointwiseLoss] = {
    "cosine": cosine_loss,
    "angular": angular_loss,
    "l2": l2_loss,
}


@dataclass(frozen=True)
class HeadTarget:
    """What one head's vectors are compared with, number by number.

    Attributes:
        vectors: ``(m, size)`` unit rows.
        present: ``(m, size)`` bool, False where a number comes from a teacher that has no vector for the row: there the student is
            free. None when all are present.
    """

    vectors: Tensor
    present: Tensor | None = None


def matryoshka_loss(
    outputs: Mapping[int, Tensor],
    weights: Mapping[int, Mapping[str, float]],
    similarity: Tensor,
    order: PairOrder | None,
    targets: Mapping[int, HeadTarget],
    *,
    margin: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the losses of every head.

    Args:
        outputs: by head, ``(m, size)`` student vectors of any length and float type.
        weights: by head, weight by loss: ``cosine``, ``angular``, ``l2``, ``similarity``, ``ranking``, ``spread``.
        similarity: ``(m, m)`` target cosines; NaN for a pair that no teacher can score.
        order: of the pairs by that similarity, for the heads with ranking; None when there are none. It is not built here: on a GPU
            the host waits for it, which costs nothing before the student's work is queued.
        targets: of the heads with cosine, angular or l2.
        margin: of the ranking loss.

    Returns:
        The weighted total, and each loss without its weight and gradient by ``"{head}/{loss}"``, in the order of ``weights``.
    """
    ranked = [head for head, losses in weights.items() if "ranking" in losses]
    ranking = _ranking(outputs, ranked, order, margin) if order is not None else {}

    def measure(head: int, loss: str) -> Tensor:
        if loss in _POINTWISE:
            return _compare(_POINTWISE[loss], outputs[head], targets[head])
        if loss == "ranking":
            return ranking[head]
        return similarity_loss(outputs[head], similarity) if loss == "similarity" else spread_loss(outputs[head])

    values = {(head, loss): measure(head, loss) for head, losses in weights.items() for loss in losses}
    total = torch.stack([weights[head][loss] * value for (head, loss), value in values.items()]).sum()
    return total, {f"{head}/{loss}": value.detach() for (head, loss), value in values.items()}


def _ranking(outputs: Mapping[int, Tensor], heads: Sequence[int], order: PairOrder, margin: float) -> dict[int, Tensor]:
    losses = ranking_losses([outputs[head] for head in heads], order, margin)
    return dict(zip(heads, losses.unbind(), strict=True))


def _compare(loss: _PointwiseLoss, vectors: Tensor, target: HeadTarget) -> Tensor:
    """The loss over the present numbers, and over the rows that have any."""
    if target.present is None:
        return loss(vectors, target.vectors, None)
    return loss(vectors * target.present, target.vectors * target.present, target.present.any(dim=-1))
