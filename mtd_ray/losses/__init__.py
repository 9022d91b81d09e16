"""The three distillation losses of arXiv 2412.19048: tensors in, scalar out, nothing else imported."""

from mtd_ray.losses.cosine import cosine_loss
from mtd_ray.losses.ranking import PairOrder, ranking_loss
from mtd_ray.losses.similarity import similarity_loss

__all__ = ["PairOrder", "cosine_loss", "ranking_loss", "similarity_loss"]
