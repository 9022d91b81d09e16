"""The one way texts become vectors on a device: tokenise, token-budget batches, forward, heads."""

from mtd_ray.encoder.encoder import Encoded, Encoder
from mtd_ray.encoder.models import locate_model
from mtd_ray.encoder.student import StudentEncoder

__all__ = ["Encoded", "Encoder", "StudentEncoder", "locate_model"]
