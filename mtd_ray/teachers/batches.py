"""Filling requests: texts in order, up to the tighter of the provider's two caps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

# Under what English (4.2) and most code (3.3) reach with published embedding tokenizers, so that a first guess errs towards
# small requests.
_FIRST_BYTES_PER_TOKEN = 3.0
_MARGIN = 0.95
_WEIGHT_OF_NEWEST = 0.3

ADDED_TOKENS = 16  # most that providers add to a text: special tokens, and a short instruction for its task


class TokenCount(Protocol):
    """Counts tokens as the provider would."""

    def of(self, text: str) -> int:
        """Tokens of one text, at least 1."""

    def most(self, texts: Sequence[str], counted: int) -> int:
        """The most tokens the provider can count for these texts, of which :meth:`of` found ``counted`` together."""

    def correct(self, texts: Sequence[str], counted: int, tokens: int) -> None:
        """Learn from an answer: the provider found ``tokens`` where :meth:`of` found ``counted``."""


class TokenEstimate:
    """Tokens of a text, guessed from its UTF-8 bytes and corrected by what the provider counts."""

    def __init__(self) -> None:
        self._bytes_per_token = _FIRST_BYTES_PER_TOKEN
        self._corrected = False

    def of(self, text: str) -> int:
        return max(1, math.ceil(len(text.encode()) / self._bytes_per_token))

    def most(self, texts: Sequence[str], counted: int) -> int:
        """One token a byte: none is shorter."""
        return _bytes(texts) + ADDED_TOKENS * len(texts)

    def correct(self, texts: Sequence[str], counted: int, tokens: int) -> None:
        size = _bytes(texts)
        if tokens <= 0 or size == 0:
            return
        seen = _MARGIN * size / tokens
        weight = _WEIGHT_OF_NEWEST if self._corrected else 1.0
        self._bytes_per_token += weight * (seen - self._bytes_per_token)
        self._corrected = True


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


@dataclass(frozen=True)
class Batch:
    """What one request holds: the places of its texts in the question, the texts, their tokens, and the task they share."""

    rows: list[int]
    texts: list[str]
    counts: list[int]
    task: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all texts together."""
        return sum(self.counts)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches with half of the texts each."""
        middle = len(self.rows) // 2
        first, second = slice(None, middle), slice(middle, None)
        return self._part(first), self._part(second)

    def _part(self, some: slice) -> Batch:
        return Batch(self.rows[some], self.texts[some], self.counts[some], self.task)


def fill_batches(
    texts: Sequence[str],
    rows: Sequence[int],
    count: TokenCount,
    *,
    task: str | None = None,
    max_inputs: int,
    max_request_tokens: int,
    max_tokens: int,
) -> Iterator[Batch]:
    """Requests for some rows of the texts; every row stands in exactly one.

    A text that seems longer than the provider takes (``max_tokens``) goes alone, so that its refusal costs no other text a second
    request. Tokens are counted as batches are drawn: what one answer teaches an estimate, the next batch uses.
    """
    batch = Batch([], [], [], task)
    total = 0
    for row in rows:
        text = texts[row]
        cost = count.of(text)
        if cost > max_tokens:
            yield Batch([row], [text], [cost], task)
            continue
        if batch.rows and (len(batch.rows) == max_inputs or total + cost > max_request_tokens):
            yield batch
            batch, total = Batch([], [], [], task), 0
        batch.rows.append(row)
        batch.texts.append(text)
        batch.counts.append(cost)
        total += cost
    if batch.rows:
        yield batch
