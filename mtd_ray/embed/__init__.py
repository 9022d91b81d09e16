"""Bulk embedding: every row of Parquet or JSON Lines files gets its vector from a finished student, beside its own columns."""

from mtd_ray.embed.options import EmbedOptions
from mtd_ray.embed.pipeline import Embedded, embed_files

__all__ = ["EmbedOptions", "Embedded", "embed_files"]
