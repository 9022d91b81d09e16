"""A request, its reply, and what getting vectors costs on the way from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtd_ray.teachers.base import Answer, Vectors


class GivenUpError(Exception):
    """Nobody wants the answer any more. Never leaves a teacher client."""


@dataclass(frozen=True)
class Request:
    """A body to POST; the tokens it is expected to count, the most it can count, and its texts."""

    body: bytes
    tokens: int
    most_tokens: int
    inputs: int


@dataclass
class Errand:
    """What getting vectors has cost since the last answer, over all requests and attempts, and whether to go on.

    Attributes:
        requests, rejected: requests sent, and how many of them the rate limit turned away.
        tokens: tokens of the answers, usable or not; the expected ones where the provider does not count.
        usd: US dollars of all of it; a request without an answer counts as the most it can have cost.
        on_the_way: a request is out and its answer is not in.
        over: no further request is to be sent.
    """

    requests: int = 0
    rejected: int = 0
    tokens: int = 0
    usd: float = 0.0
    on_the_way: bool = False
    over: bool = False

    def answer(self, rows: Sequence[int], vectors: Vectors, failures: dict[int, str]) -> Answer:
        """An answer with what was spent since the last one."""
        answer = Answer(rows, vectors, failures, self.tokens, self.requests, self.rejected, self.usd)
        self.tokens = self.requests = self.rejected = 0
        self.usd = 0.0
        return answer


@dataclass(frozen=True)
class Reply:
    """An answer of 200: its JSON (None when it is none) and the tokens the provider counted (0 when it does not say)."""

    content: Any
    counted: int
