"""What a teacher is to the rest of the system: the protocol, its answer, its errors, and the checks every answer must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mtd_ray.config import Kind
from mtd_ray.errors import MtdError

Vectors = NDArray[np.float32]


class TeacherError(MtdError):
    """A teacher cannot be used as the recipe describes it."""


class AccountError(TeacherError):
    """The provider refuses the account: a wrong key, no money left, no permission. Stops the whole run; asking again is no use."""


class TeacherUnavailable(TeacherError):  # noqa: N818 (a state of the teacher, named as one)
    """The teacher did not answer after all retries. Nothing of the part was stored; running again continues there."""


class BadAnswer(TeacherError):  # noqa: N818 (what was received, named as such)
    """The teacher's answer does not fit the question: wrong count, wrong size, broken order. It is never stored."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Vectors for a list of texts, in the order of the texts.

    Attributes:
        vectors: ``(rows, dim)`` float32; the vector of a failed row is all zeros.
        failures: row → reason, for the texts the teacher could not embed.
        tokens: tokens the provider counted (an estimate where it does not say).
        requests: requests that were sent, repeated ones included.
        rejected: how many of them were turned away for going over the rate limit.
    """

    vectors: Vectors
    failures: dict[int, str]
    tokens: int
    requests: int
    rejected: int = 0


class TeacherClient(Protocol):
    """Turns texts into vectors. One client belongs to one worker; it is not shared between threads."""

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        """Embed texts of the given kinds.

        Raises:
            AccountError: the account is refused.
            TeacherUnavailable: no answer after all retries.
            BadAnswer: the answer stays unusable after a few repeats, or no text at all can be embedded.
        """
        ...

    def close(self) -> None:
        """Give back connections or memory."""
        ...


class Limiter(Protocol):
    """Shares a provider's quota between all workers."""

    def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        """Block until the quota has room for this much."""
        ...

    def report(self, *, rejected: bool, retry_after: float | None) -> None:
        """Tell how a request went: whether it was over the limit, and for how many seconds the provider asks to be left alone."""
        ...


class Unlimited:
    """A limiter for a teacher without a quota."""

    def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        return None

    def report(self, *, rejected: bool, retry_after: float | None) -> None:
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
    with np.errstate(over="ignore", under="ignore"):
        stored = vectors.astype(np.float16)
    broken = ~np.isfinite(stored).all(axis=1)
    empty = ~stored.any(axis=1)
    failures = {int(row): "the vector is not finite" for row in np.flatnonzero(broken)}
    failures |= {int(row): "the vector is all zeros" for row in np.flatnonzero(empty)}
    if failures:
        vectors = vectors.copy()
        vectors[list(failures)] = 0.0
    return vectors, failures
