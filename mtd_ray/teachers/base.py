"""What a teacher is to the rest of the system: the protocol, its answer, its errors, and the checks every answer must pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mtd_ray.config import Kind
from mtd_ray.errors import MtdError

Vectors = NDArray[np.float32]

NOT_FINITE = "the vector is not finite"
"""The one reason of a failure that may pass, as an overflow does: every other comes again with the same text."""

_SURELY_SOME, _SURELY_FINITE = 1e-7, 65_504.0  # in float16, whatever the rounding


class TeacherError(MtdError):
    """A teacher cannot be used as the recipe describes it."""


class AccountError(TeacherError):
    """The provider refuses the account: a wrong key, no money left, no permission. Stops the whole run; asking again is no use."""


class TeacherUnavailable(TeacherError):  # noqa: N818 (a state of the teacher, named as one)
    """The teacher did not answer after all retries. What came in before is stored; running again continues there."""


class BudgetSpent(TeacherError):  # noqa: N818 (a state of the budget, named as one)
    """``harvest.budget_usd`` has no room for the next request. Stops the whole run; what is paid for stays."""


class BadAnswer(TeacherError):  # noqa: N818 (what was received, named as such)
    """The teacher's answer does not fit the question: wrong count, wrong size, broken order, or no text at all gets a
    vector. It is never stored."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Vectors for some of the texts of a question, or all.

    Attributes:
        rows: which of the texts, by their place in the question.
        vectors: ``(len(rows), dim)`` float32, in the order of ``rows``; the vector of a failed row is all zeros.
        failures: row (its place in the question) → reason, for the texts the teacher could not embed.
        tokens: tokens the provider counted (an estimate where it does not say).
        requests: requests that were sent, repeated ones included.
        rejected: how many of them were turned away for going over the rate limit.
        usd: US dollars these requests cost, by the price the recipe or the catalogue gives; 0 where there is none.
    """

    rows: Sequence[int]
    vectors: Vectors
    failures: dict[int, str]
    tokens: int
    requests: int
    rejected: int = 0
    usd: float = 0.0


class TeacherClient(Protocol):
    """Turns texts into vectors. One client belongs to one worker, whose threads may all use it at once."""

    def answers(self, texts: Sequence[str], kinds: Sequence[Kind], *, tick_s: float) -> Iterator[Answer | None]:
        """Embed texts of the given kinds and give the answers as they come, in any order; every row stands in one.

        None is given whenever ``tick_s`` seconds passed without an answer, so that the caller can put away what it has.
        After an error no further answer comes; those given are good. Closing the iterator gives up the rest.

        Raises:
            AccountError: the account is refused.
            TeacherUnavailable: no answer after all retries.
            BadAnswer: the answer stays unusable after a few repeats, or no text at all can be embedded.
        """
        ...

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        """All answers in one, its rows in the order of ``texts``. Raises what :meth:`answers` does."""
        ...

    def close(self) -> None:
        """Give back connections or memory."""
        ...


def collected(answers: Iterable[Answer | None], rows: int, dimensions: int) -> Answer:
    """The answers to a question of so many texts, as one."""
    vectors = np.zeros((rows, dimensions), np.float32)
    failures: dict[int, str] = {}
    tokens = requests = rejected = 0
    usd = 0.0
    for answer in answers:
        if answer is not None:
            vectors[list(answer.rows)] = answer.vectors
            failures |= answer.failures
            tokens, requests = tokens + answer.tokens, requests + answer.requests
            rejected, usd = rejected + answer.rejected, usd + answer.usd
    return Answer(range(rows), vectors, failures, tokens, requests, rejected, usd)


@dataclass(frozen=True)
class RateHints:
    """What a provider says about the account's rate limit beside an answer.

    Attributes:
        retry_after: seconds it asks to be left alone.
        limits: currency (``requests``, ``tokens``, ``inputs``) → the account's limit per minute.
        remaining: currency → how much of it is left now.
    """

    retry_after: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    remaining: Mapping[str, float] = field(default_factory=dict)


NO_HINTS = RateHints()


class Limiter(Protocol):
    """Shares a provider's quota between all workers."""

    async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        """Wait until the quota has room for this much. Raises TeacherUnavailable when nobody can say so any more."""
        ...

    def report(self, *, rejected: bool, hints: RateHints = NO_HINTS) -> None:
        """Tell how a request went: whether it was over the limit, and what the provider said beside it. Returns at once."""
        ...


class Budget(Protocol):
    """Keeps all workers together under a cap on dollars."""

    async def reserve(self, usd: float) -> None:
        """Set money aside before a request is sent. Raises BudgetSpent when the cap has no room for it."""
        ...

    def settle(self, reserved: float, spent: float) -> None:
        """Give back what was reserved and book what the request cost. Returns at once."""
        ...


class Unlimited:
    """A limiter for a teacher without a quota."""

    async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        return None

    def report(self, *, rejected: bool, hints: RateHints = NO_HINTS) -> None:
        return None


class Unbudgeted:
    """A budget without a cap."""

    async def reserve(self, usd: float) -> None:
        return None

    def settle(self, reserved: float, spent: float) -> None:
        return None


def require_shape(vectors: Vectors, rows: int, dimensions: int, teacher: str) -> None:
    """Raise BadAnswer unless there are ``rows`` vectors of the size the recipe gives."""
    if vectors.ndim != 2 or vectors.shape[0] != rows:
        raise BadAnswer(f"teacher {teacher}: {rows} texts were asked for, the answer has the shape {vectors.shape}")
    if vectors.shape[1] != dimensions:
        raise BadAnswer(
            f"teacher {teacher}: its vectors have {vectors.shape[1]} numbers, the recipe says teachers.{teacher}.dimensions: "
            f"{dimensions}; correct the recipe"
        )


def set_aside_bad_rows(vectors: Vectors) -> tuple[Vectors, dict[int, str]]:
    """Zero the rows that no student can learn from and name why: not finite, or all zeros.

    Both are judged in float16, the type targets are stored in: over 65,504 is not finite, under 6e-8 is zero.

    Returns:
        ``(rows, dim)`` float32 and row → reason.
    """
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    if ((largest > _SURELY_SOME) & (largest <= _SURELY_FINITE)).all():
        return vectors, {}
    with np.errstate(over="ignore", under="ignore"):
        stored = vectors.astype(np.float16)
    broken = ~np.isfinite(stored).all(axis=1)
    empty = ~stored.any(axis=1)
    failures = {int(row): NOT_FINITE for row in np.flatnonzero(broken)}
    failures |= {int(row): "the vector is all zeros" for row in np.flatnonzero(empty)}
    if failures:
        vectors = vectors.copy()
        vectors[list(failures)] = 0.0
    return vectors, failures
