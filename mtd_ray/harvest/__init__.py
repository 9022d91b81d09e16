"""Harvest: every teacher's vectors for the corpus, once, into the target store."""

from mtd_ray.harvest.pipeline import harvest
from mtd_ray.harvest.plan import require_teachers
from mtd_ray.harvest.receipt import HarvestReceipt

__all__ = ["HarvestReceipt", "harvest", "require_teachers"]
