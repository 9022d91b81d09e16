"""The losses: tensors in, scalar out, one file each, nothing else of the package imported."""

from mtd_ray.losses.angular import angular_loss
from mtd_ray.losses.cosine import cosine_loss
from mtd_ray.losses.l2 import l2_loss
from mtd_ray.losses.matryoshka import HeadTarget, matryoshka_loss
from mtd_ray.losses.ranking import PairOrder, ranking_loss, ranking_losses
from mtd_ray.losses.similarity import similarity_loss
from mtd_ray.losses.spread import spread_loss

__all__ = [
    "HeadTarget",
    "PairOrder",
    "angular_loss",
    "cosine_loss",
    "l2_loss",
    "matryoshka_loss",
    "ranking_loss",
    "ranking_losses",
    "similarity_loss",
    "spread_loss",
]
