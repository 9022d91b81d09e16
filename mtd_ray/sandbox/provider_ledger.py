"""What a provider was paid for: the judge of whether a text was bought twice and of what it cost."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from mtd_ray.config.catalog import catalog


class Ledger:
    """Counts of answered and refused requests, of dollars, and of each text by its sha256.

    A request counts as paid in the moment in which the model has computed its vectors and the server begins to send the answer:
    also when the answer then breaks off, is damaged by a fault or finds nobody listening any more. What was refused (any error
    status, the quota's 429 among them) and a connection that was reset before the first byte are not paid.

    Args:
        usd_per_million_tokens: the price of a model, by its name.
    """

    def __init__(self, usd_per_million_tokens: Callable[[str], float]) -> None:
        self._price = usd_per_million_tokens
        self._texts: Counter[bytes] = Counter()
        self._tokens: Counter[str] = Counter()  # by model
        self._refused: Counter[int] = Counter()
        self._requests = self._reset = self._granted = 0

    def grant(self, tokens: int) -> None:
        """Record tokens that the quota let through."""
        self._granted += tokens

    def pay(self, model: str, texts: Iterable[str], tokens: int) -> None:
        """Record an answered request."""
        self._texts.update(hashlib.sha256(text.encode()).digest() for text in texts)
        self._requests += 1
        self._tokens[model] += tokens

    def refuse(self, status: int) -> None:
        """Record a request that was answered with an error."""
        self._refused[status] += 1

    def reset(self) -> None:
        """Record a connection that was reset before the first byte of an answer."""
        self._reset += 1

    def to_json(self, by_text: bool = True) -> dict[str, Any]:
        """``requests`` answered, ``refused`` by status, ``reset``; ``tokens`` paid, ``tokens_granted`` by the quota, ``usd``;
        ``texts`` (all that were paid), ``distinct_texts`` and, unless left out, ``by_sha256`` → times paid."""
        figures = {
            "requests": self._requests,
            "refused": {str(status): count for status, count in self._refused.items()},
            "reset": self._reset,
            "tokens": self._tokens.total(),
            "tokens_granted": self._granted,
            "usd": sum(tokens * self._price(model) for model, tokens in self._tokens.items()) / 1e6,
            "texts": self._texts.total(),
            "distinct_texts": len(self._texts),
        }
        by_sha256 = {digest.hex(): count for digest, count in self._texts.items()} if by_text else {}
        return figures | ({"by_sha256": by_sha256} if by_text else {})


def catalog_price(model: str) -> float | None:
    """Dollars per million tokens of a model that the catalogue lists; None of any other."""
    listed = (provider.models[model].price for provider in catalog().providers.values() if model in provider.models)
    return next(listed, None)
