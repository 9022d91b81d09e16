"""The README.md of an exported student, and what mteb's leaderboard wants to know of it."""

from mtd_ray.card.card import ModelCard
from mtd_ray.card.origins import Origin

__all__ = ["ModelCard", "Origin"]
