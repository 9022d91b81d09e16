"""Stored targets → a trained student, on every worker of a Ray cluster.

Only ``pipeline`` and what it calls beside training need Ray. Nothing is imported before it is called for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtd_ray.distill.pipeline import (
        DistillReceipt,
        check_alignment,
        check_batches,
        distill,
        final_student,
        initial_student,
    )

__all__ = ["DistillReceipt", "check_alignment", "check_batches", "distill", "final_student", "initial_student"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mtd_ray.distill import pipeline

    return getattr(pipeline, name)
