"""What the sandbox provider does wrong on purpose, by script or by seeded chance."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mtd_ray.sandbox.provider_quota import go_duration

HowAnswered = Literal["status", "reset", "cut", "stall", "slow"]
Damage = Literal["wrong_size", "wrong_count", "nan", "null", "zero", "reorder", "duplicate_index", "truncated"]
FaultKind = HowAnswered | Damage
HintForm = Literal["seconds", "milliseconds", "http_date", "go_duration", "unix_time"]


class Fault(BaseModel):
    """One thing that goes wrong.

    It strikes the requests whose numbers (from 1) are in ``at``, every ``every``-th one, a random ``share`` of them, and requests
    holding a text that ``containing`` stands in; with none of these, all of them. Once it has struck, it also strikes whatever
    comes in the next ``lasting_s`` seconds, and the next ``lasting_requests`` requests: a storm.

    Kinds:
        status: answers ``status``, with ``code`` (default: what the provider sends with that status) and with ``retry_after``
            seconds in the form ``retry_after_as``, if given. 502 and 504 come as a gateway's HTML page.
        reset: resets the connection before any byte of the answer. Neither computed nor paid.
        cut: ends the connection in the middle of the answer; with ``by_reset`` as ``reset`` does, else in good order.
        stall: waits ``seconds`` before it does anything.
        slow: sends the answer in small pieces over ``seconds``.
        nan, null, zero, truncated: damage the first vector, or those of texts that ``containing`` stands in: not-a-number in the
            encoding asked for (null in JSON), null in a list of numbers also where base64 was asked for, all zeros, base64 whose
            end is missing (in a list, numbers are missing).
        wrong_size, wrong_count, reorder, duplicate_index: one number too many in each vector, one vector too few, vectors and
            their ``index`` backwards, one ``index`` twice.

    Every kind strikes every wire format; Cohere's answers have no ``index``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    at: tuple[int, ...] = ()
    every: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    containing: str | None = None
    lasting_s: Annotated[float, Field(ge=0)] = 0.0
    lasting_requests: Annotated[int, Field(ge=0)] = 0
    status: int = 500
    code: str | None = None
    by_reset: bool = False
    seconds: float = 1.0
    retry_after: float | None = None
    retry_after_as: HintForm = "seconds"

    def strikes(self, number: int, texts: Iterable[str], chance: random.Random) -> bool:
        """Whether it strikes the request of this number of itself, no storm considered."""
        conditions = [number in self.at] if self.at else []
        if self.every is not None:
            conditions.append(number % self.every == 0)
        if self.share is not None:
            conditions.append(chance.random() < self.share)
        if self.containing is not None:
            conditions.append(any(self.containing in text for text in texts))
        return any(conditions) if conditions else True

    def hint(self) -> dict[str, str]:
        """The headers that ask to wait for ``retry_after`` seconds."""
        return {} if self.retry_after is None else wait_headers(self.retry_after, self.retry_after_as, time.time())


class FaultPlan:
    """All faults of a server; the same seed and requests give the same faults. ``clock`` gives seconds, for storms."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._storms = [_Storm(fault) for fault in faults]
        self._chance = random.Random(seed)
        self._clock = clock

    def pick(self, number: int, texts: list[str]) -> Fault | None:
        """The first fault that strikes this request."""
        now = self._clock()
        struck = [storm.fault for storm in self._storms if storm.strikes(number, texts, self._chance, now)]
        return struck[0] if struck else None


class _Storm:
    """A fault and how long it goes on."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._until, self._left = -math.inf, 0

    def strikes(self, number: int, texts: list[str], chance: random.Random, now: float) -> bool:
        if self.fault.strikes(number, texts, chance):
            self._until, self._left = now + self.fault.lasting_s, self.fault.lasting_requests
            return True
        self._left -= 1
        return now < self._until or self._left >= 0


def wait_headers(seconds: float, form: HintForm, now: float) -> dict[str, str]:
    """ "Wait for so long" as each provider and proxy says it; ``now`` is Unix time."""
    if form == "milliseconds":
        return {"retry-after-ms": f"{seconds * 1000:.0f}"}
    if form == "http_date":
        return {"retry-after": formatdate(math.ceil(now + seconds), usegmt=True)}
    if form == "go_duration":
        return {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": go_duration(seconds)}
    if form == "unix_time":
        return {"x-ratelimit-reset": str(math.ceil(now + seconds))}
    return {"retry-after": f"{seconds:g}"}


def targets(fault: Fault, texts: list[str]) -> list[int]:
    """The rows that ``nan``, ``null``, ``zero`` and ``truncated`` damage."""
    if fault.containing is None:
        return [0]
    return [row for row, text in enumerate(texts) if fault.containing in text]


def damaged(vectors: NDArray[np.float32], fault: Fault, texts: list[str]) -> tuple[NDArray[np.float32], list[int]]:
    """Vectors ``(rows, dim)`` and their ``index`` values after a fault of an answering kind."""
    vectors, indices = vectors.copy(), list(range(len(vectors)))
    if fault.kind == "wrong_size":
        vectors = np.concatenate([vectors, vectors[:, :1]], axis=1)
    elif fault.kind == "wrong_count":
        vectors, indices = vectors[:-1], indices[:-1]
    elif fault.kind in ("nan", "null"):
        vectors[targets(fault, texts), 0] = np.nan
    elif fault.kind == "zero":
        vectors[targets(fault, texts)] = 0.0
    elif fault.kind == "reorder":
        vectors, indices = vectors[::-1], indices[::-1]
    elif fault.kind == "duplicate_index":
        indices[-1] = 0 if len(indices) > 1 else 1
    return vectors, indices
