"""What a provider was paid for: the judge of whether a text was bought twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any


class Ledger:
    """Counts of answered and refused requests, and of each text by its sha256."""

    def __init__(self) -> None:
        self._texts: Counter[str] = Counter()
        self._refused: Counter[int] = Counter()
        self._requests = self._tokens = 0

    def pay(self, texts: Iterable[str], tokens: int) -> None:
        """Record an answered request."""
        self._texts.update(hashlib.sha256(text.encode()).hexdigest() for text in texts)
        self._requests += 1
        self._tokens += tokens

    def refuse(self, status: int) -> None:
        """Record a request that was answered with an error."""
        self._refused[status] += 1

    def to_json(self) -> dict[str, Any]:
        """``requests``, ``tokens``, ``texts`` (all that were paid), ``refused`` by status, ``by_sha256`` → times paid."""
        return {
            "requests": self._requests,
            "tokens": self._tokens,
            "texts": self._texts.total(),
            "refused": {str(status): count for status, count in self._refused.items()},
            "by_sha256": dict(self._texts),
        }
