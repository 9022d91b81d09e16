"""Texts of mixed lengths for benchmarks on machines without data: paragraphs of Python's own language reference."""

from __future__ import annotations

import random
from pydoc_data.topics import topics


def reference_texts(count: int, rng: random.Random) -> list[str]:
    """Runs of one to eight paragraphs of the language reference, most of them short."""
    found = list(dict.fromkeys(" ".join(p.split()) for text in topics.values() for p in text.split("\n\n") if p.strip()))
    starts = [rng.randrange(len(found)) for _ in range(count)]
    return [" ".join(found[start : start + rng.choice((1, 1, 1, 1, 2, 8))]) for start in starts]
