"""Harvest: every teacher's vectors for the corpus, once, into the target store.

Nothing is imported before it is called for: only ``harvest`` and what it writes need Ray, and other rooms use what does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtd_ray.harvest.pipeline import harvest
    from mtd_ray.harvest.plan import require_teachers
    from mtd_ray.harvest.receipt import HarvestReceipt

__all__ = ["HarvestReceipt", "harvest", "require_teachers"]

_MODULES = {"HarvestReceipt": "receipt", "harvest": "pipeline", "require_teachers": "plan"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
