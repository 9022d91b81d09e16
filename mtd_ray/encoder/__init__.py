"""The one way texts become vectors on a device: tokenise, token-budget batches, forward, heads.

Finding a model's files needs none of what running it needs, so nothing is imported before it is called for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtd_ray.encoder.encoder import Encoded, Encoder
    from mtd_ray.encoder.models import locate_model
    from mtd_ray.encoder.student import StudentEncoder
    from mtd_ray.encoder.tokens import Tokens

__all__ = ["Encoded", "Encoder", "StudentEncoder", "Tokens", "locate_model"]

_HOME = {"Encoded": "encoder", "Encoder": "encoder", "StudentEncoder": "student", "Tokens": "tokens", "locate_model": "models"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
