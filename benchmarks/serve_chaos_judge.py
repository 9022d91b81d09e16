"""What ``serve_chaos.py`` counts: every request that was sent, and whether it ended as it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

TOLERANCE = 1e-4
OK, TOO_MANY, FAILED = 200, 429, 500

Kind = Literal["plain", "poison", "hang-up"]
Vectors = np.ndarray


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        kind: ``poison`` has one text whose vector is not finite, ``hang-up`` a client that does not wait for the answer.
        rows: numbers of its texts.
        size: of the vectors asked for.
        poisoned: the input that is the poison.
    """

    kind: Kind
    rows: tuple[int, ...]
    size: int
    poisoned: int | None = None


@dataclass(frozen=True)
class Answered:
    """What came of a request.

    Attributes:
        status: HTTP status; None when the connection broke.
        seconds: from when the request was due to its last byte.
        fault: the message of an answer that is no 200, or of the broken connection.
        retry_after: the header.
        model: the version that answered.
        vectors: (rows, size), of a 200.
    """

    status: int | None
    seconds: float
    fault: str = ""
    retry_after: str | None = None
    model: str = ""
    vectors: Vectors | None = None


@dataclass
class Judge:
    """Counts. A request that is not rejected was accepted, and then it must be answered, rightly and within the deadline.

    Attributes:
        right: version and size → the vectors (texts, size) that are right.
        deadline_s: in which an accepted request must be answered.
        failed_accepted: accepted requests without their answer: an error, a broken connection, or an answer after the deadline. Of
            poison requests: another error than the one that names the poisoned input.
        failures: the same by what happened.
        wrong_vectors: answers with a vector of another text, version or size, or none for poison; by number of requests.
        without_retry_after: rejections that do not say when to come back.
    """

    right: Mapping[tuple[str, int], Vectors]
    deadline_s: float
    accepted: int = 0
    rejected: int = 0
    poison: int = 0
    hung_up: int = 0
    failed_accepted: int = 0
    wrong_vectors: int = 0
    without_retry_after: int = 0
    by_version: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    accepted_s: list[float] = field(default_factory=list)
    rejected_s: list[float] = field(default_factory=list)

    def count(self, asked: Asked, answered: Answered) -> None:
        """Take one request into account."""
        if asked.kind == "hang-up":
            self.hung_up += 1
        elif answered.status == TOO_MANY:
            self.rejected += 1
            self.rejected_s.append(answered.seconds)
            self.without_retry_after += not (answered.retry_after or "").isdigit()
        elif asked.kind == "poison":
            self._count_poison(asked, answered)
        else:
            self._count_plain(asked, answered)

    def _count_poison(self, asked: Asked, answered: Answered) -> None:
        self.poison += 1
        if answered.status == OK:
            self.wrong_vectors += 1
        elif answered.status != FAILED or f"input {asked.poisoned}" not in answered.fault:
            self._fail(answered)

    def _count_plain(self, asked: Asked, answered: Answered) -> None:
        self.accepted += 1
        if answered.status != OK:
            self._fail(answered)
            return
        self.accepted_s.append(answered.seconds)
        self.by_version[answered.model] += 1
        self.wrong_vectors += not self._is_right(asked, answered)
        if answered.seconds > self.deadline_s:
            self.failed_accepted += 1
            self.failures["answered after the deadline"] += 1

    def _is_right(self, asked: Asked, answered: Answered) -> bool:
        right = self.right.get((answered.model, asked.size))
        if right is None or answered.vectors is None or answered.vectors.shape != (len(asked.rows), asked.size):
            return False
        return bool(np.abs(answered.vectors - right[list(asked.rows)]).max() <= TOLERANCE)

    def _fail(self, answered: Answered) -> None:
        self.failed_accepted += 1
        self.failures[f"{answered.status or 'no answer'}: {answered.fault[:160]}"] += 1

    def figures(self) -> dict[str, float]:
        """The counts, by the names that stand in the benchmark's last line."""
        names = ("accepted", "rejected", "poison", "hung_up", "failed_accepted", "wrong_vectors", "without_retry_after")
        return {name: getattr(self, name) for name in names}


def percentile_ms(seconds: Sequence[float], percent: float) -> float | None:
    """In milliseconds; None of nothing."""
    return round(1000 * float(np.percentile(seconds, percent)), 1) if seconds else None
