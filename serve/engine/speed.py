"""How fast a model is: before anybody has asked it, and in the last seconds."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.engine.model import ServedModel

_USUAL_TOKENS = 64
_MEMORY_S = 10.0
_WELL_S = 1.0


class Speed:
    """Of one model, over its last full passes."""

    def __init__(self) -> None:
        self.tokens, self.seconds = 0.0, 0.0

    def measured(self, tokens: int, seconds: float) -> None:
        """A full pass took so long."""
        kept = max(1 - seconds / _MEMORY_S, 0.0)
        self.tokens = self.tokens * kept + tokens
        self.seconds = self.seconds * kept + seconds

    @property
    def per_s(self) -> float:
        """Tokens per second; 0 before the first pass."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def is_known_well(self) -> bool:
        """The first passes after a start are slower than others."""
        return self.seconds >= _WELL_S


def full_pass(model: ServedModel) -> tuple[int, float]:
    """Tokens of a full batch of texts of usual length, and the seconds that it takes."""
    ids = model.cut(model.tokenize(["ok " * _USUAL_TOKENS])[0])
    rows = max(model.batch_tokens // len(ids), 1)
    started = perf_counter()
    model.embed([ids] * rows, [model.default_size] * rows)
    return len(ids) * rows, perf_counter() - started
