"""Filling requests: texts in order, up to the tighter of the provider's two caps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

# Under what English (4.2) and most code (3.3) reach with published embedding tokenizers, so that a first guess errs towards
# small requests.
_FIRST_BYTES_PER_TOKEN = 3.0
_MARGIN = 0.95
_WEIGHT_OF_NEWEST = 0.3


class TokenEstimate:
    """Tokens of a text, guessed from its UTF-8 bytes and corrected by what the provider counts."""

    def __init__(self) -> None:
        self._bytes_per_token = _FIRST_BYTES_PER_TOKEN
        self._corrected = False

    def of(self, text: str) -> int:
        """Estimated tokens of one text, at least 1."""
        return max(1, math.ceil(len(text.encode()) / self._bytes_per_token))

    def correct(self, texts: Sequence[str], tokens: int) -> None:
        """Learn from a request: the provider counted ``tokens`` for these texts together."""
        size = sum(len(text.encode()) for text in texts)
        if tokens <= 0 or size == 0:
            return
        seen = _MARGIN * size / tokens
        weight = _WEIGHT_OF_NEWEST if self._corrected else 1.0
        self._bytes_per_token += weight * (seen - self._bytes_per_token)
        self._corrected = True


def fill_batches(
    texts: Sequence[str], estimate: TokenEstimate, *, max_inputs: int, max_request_tokens: int, max_tokens: int
) -> Iterator[list[int]]:
    """Row numbers of each request; every row stands in exactly one.

    A text that seems longer than the provider takes (``max_tokens``) goes alone, so that its refusal costs no other text a second
    request. The estimate is asked as batches are drawn: what one answer teaches, the next batch uses.
    """
    batch: list[int] = []
    total = 0
    for row, text in enumerate(texts):
        cost = estimate.of(text)
        if cost > max_tokens:
            yield [row]
            continue
        if batch and (len(batch) == max_inputs or total + cost > max_request_tokens):
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += cost
    if batch:
        yield batch
