"""Who is let into the queue: what can be computed within the deadline at the measured speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Lock

from serve.engine.limits import Limits, Load
from serve.engine.work import Item, Job
from serve.wire.faults import ApiError

# Half of the model's time goes by age, half by fairness (see FairQueue), so what waits may take half of the time that is left when
# a job becomes urgent.
URGENT = 0.2
_SHARE = (1 - URGENT) / 2
_MEMORY_S = 10.0
_FIRST_GUESS_TOKENS_PER_CHARACTER = 0.3
_SHORTEST_WAIT_S = 1.0


class Admission:
    """Counts the tokens that wait for the model, by flow, and refuses what would not be computed in time. Thread-safe.

    A job is in time if all that waits, or its fair part of it, can be computed by then: so thousands of texts of one client do not
    keep out others. Before a text is tokenised its length counts, at the tokens per character measured so far.

    Args:
        floor: tokens that may always wait, also while the speed is not known.
    """

    def __init__(self, limits: Limits, floor: int) -> None:
        self._limits = limits
        self._floor = floor
        self._lock = Lock()
        self._jobs: Counter[str] = Counter()
        self._total = 0
        self._running = 0
        self._done_tokens, self._done_s = 0.0, 0.0
        self._per_character = _FIRST_GUESS_TOKENS_PER_CHARACTER

    @property
    def load(self) -> Load:
        """What is under way."""
        with self._lock:
            return Load(self._total, self._running, self._tokens_per_s)

    def guess(self, rows: Sequence[str | list[int]], longest: int) -> int:
        """Tokens of texts that are not tokenised yet; one is cut or refused beyond the ``longest``."""
        ratio = self._per_character
        return sum(min(1 + (int(len(row) * ratio) if isinstance(row, str) else len(row)), longest) for row in rows)

    def learn(self, rows: Sequence[str | list[int]], tokens: int) -> None:
        """Texts turned out to have so many tokens."""
        characters = sum(len(row) for row in rows if isinstance(row, str))
        if characters and all(isinstance(row, str) for row in rows):
            weight = min(characters / 10_000, 0.1)
            self._per_character += weight * (tokens / characters - self._per_character)

    def check(self, flow: str, characters: int) -> None:
        """Whether a request of so many characters has a chance. Not all need be text, so a long one gets the benefit of doubt.

        Raises:
            ApiError: (429) it has none now.
        """
        with self._lock:
            self._check(flow, min(int(characters * self._per_character), self._floor))

    def enter(self, job: Job, tokens: int) -> None:
        """A job waits, of about so many tokens.

        Raises:
            ApiError: (429) there is no room for it.
        """
        with self._lock:
            self._check(job.flow, tokens)
            self._set(job, tokens)

    def settle(self, job: Job, tokens: int) -> None:
        """So many of a job's tokens wait."""
        with self._lock:
            self._set(job, tokens)

    def start(self, items: Sequence[Item]) -> None:
        """A forward pass takes these."""
        with self._lock:
            for item in items:
                self._set(item.job, max(item.job.waiting_tokens - item.tokens, 0))
            self._running = sum(item.tokens for item in items)

    def finish(self) -> None:
        """The forward pass is done."""
        with self._lock:
            self._running = 0

    def measured(self, tokens: int, seconds: float) -> None:
        """A full forward pass took so long."""
        with self._lock:
            kept = max(1 - seconds / _MEMORY_S, 0.0)
            self._done_tokens = self._done_tokens * kept + tokens
            self._done_s = self._done_s * kept + seconds

    @property
    def _tokens_per_s(self) -> float:
        return self._done_tokens / self._done_s if self._done_s else 0.0

    @property
    def _capacity(self) -> int:
        if self._limits.max_queued_tokens is not None:
            return self._limits.max_queued_tokens
        return max(int(self._tokens_per_s * self._limits.deadline_s * _SHARE), self._floor)

    def _check(self, flow: str, tokens: int) -> None:
        capacity = self._capacity
        excess = self._total + tokens - capacity
        flows = len(self._jobs) + (flow not in self._jobs)
        if not self._total or excess <= 0 or tokens * flows * (self._jobs[flow] + 1) <= capacity:
            return
        speed = self._tokens_per_s
        wait = max(min(excess, self._total) / speed if speed else 0.0, _SHORTEST_WAIT_S)
        raise ApiError(
            f"{self._total} tokens wait, and {capacity} are what this server can compute in time; ask again in {wait:.0f} s",
            status=429,
            code="rate_limit_exceeded",
            retry_after_s=wait,
        )

    def _set(self, job: Job, tokens: int) -> None:
        self._total += tokens - job.waiting_tokens
        self._jobs[job.flow] += (tokens > 0) - (job.waiting_tokens > 0)
        if not self._jobs[job.flow]:
            del self._jobs[job.flow]
        job.waiting_tokens = tokens
