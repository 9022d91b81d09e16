"""How fast a model is before anybody has asked it."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.engine.model import ServedModel

_USUAL_TOKENS = 64


def full_pass(model: ServedModel) -> tuple[int, float]:
    """Tokens of a full batch of texts of usual length, and the seconds that it takes."""
    ids = model.cut(model.tokenize(["ok " * _USUAL_TOKENS])[0])
    rows = max(model.batch_tokens // len(ids), 1)
    started = perf_counter()
    model.embed([ids] * rows, [model.default_size] * rows)
    return len(ids) * rows, perf_counter() - started
