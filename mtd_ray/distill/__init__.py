"""Stored targets → a trained student, on every worker of a Ray cluster.

``pipeline`` is the only part that needs Ray, and is imported only when one of its functions is called for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtd_ray.distill.alignment import check_alignment

if TYPE_CHECKING:
    from mtd_ray.distill.pipeline import DistillReceipt, distill, final_student, initial_student

__all__ = ["DistillReceipt", "check_alignment", "distill", "final_student", "initial_student"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mtd_ray.distill import pipeline

    return getattr(pipeline, name)
