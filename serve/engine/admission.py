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
# One flow may hold at most this many times the room that it leaves to others: 80 % of the queue when it is alone.
_GREED = 4
_MEMORY_S = 10.0
_FIRST_GUESS_TOKENS_PER_CHARACTER = 0.3
_SHORTEST_WAIT_S = 1.0


class Admission:
    """Counts the tokens that wait for the model, by flow, and refuses what would not be computed in time. Thread-safe.

    Before a text is tokenised its length counts, at the tokens per character measured so far.

    Args:
        floor: tokens that may always wait, also while the speed is not known.
    """

    def __init__(self, limits: Limits, floor: int) -> None:
        self._limits = limits
        self._floor = floor
        self._lock = Lock()
        self._queued: Counter[str] = Counter()
        self._total = 0
        self._running = 0
        self._done_tokens, self._done_s = 0.0, 0.0
        self._per_character = _FIRST_GUESS_TOKENS_PER_CHARACTER

    @property
    def load(self) -> Load:
        """What is under way."""
        with self._lock:
            return Load(self._total, self._running, self._tokens_per_s)

    def guess(self, rows: Sequence[str | list[int]]) -> int:
        """Tokens of texts that are not tokenised yet."""
        ratio = self._per_character
        return sum(1 + (int(len(row) * ratio) if isinstance(row, str) else len(row)) for row in rows)

    def learn(self, rows: Sequence[str | list[int]], tokens: int) -> None:
        """Texts turned out to have so many tokens."""
        characters = sum(len(row) for row in rows if isinstance(row, str))
        if characters and all(isinstance(row, str) for row in rows):
            weight = min(characters / 10_000, 0.1)
            self._per_character += weight * (tokens / characters - self._per_character)

    def check(self, flow: str, characters: int) -> None:
        """Whether a request of that many characters has a chance.

        Raises:
            ApiError: (429) it has none now.
        """
        with self._lock:
            self._check(flow, int(characters * self._per_character))

    def enter(self, flow: str, tokens: int) -> None:
        """Count tokens as waiting.

        Raises:
            ApiError: (429) there is no room for them.
        """
        with self._lock:
            self._check(flow, tokens)
            self._add(flow, tokens)

    def correct(self, flow: str, tokens: int) -> None:
        """So many more (or fewer) tokens wait than was thought."""
        with self._lock:
            self._add(flow, tokens)

    def start(self, items: Sequence[Item]) -> None:
        """A forward pass takes these."""
        with self._lock:
            for item in items:
                taken = min(item.tokens, item.job.waiting_tokens)  # an abandoned job has none any more
                item.job.waiting_tokens -= taken
                self._add(item.job.flow, -taken)
            self._running = sum(item.tokens for item in items)

    def finish(self, seconds: float) -> None:
        """The forward pass over what was started took so long."""
        with self._lock:
            kept = max(1 - seconds / _MEMORY_S, 0.0)
            self._done_tokens = self._done_tokens * kept + self._running
            self._done_s = self._done_s * kept + seconds
            self._running = 0

    def abandon(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        with self._lock:
            self._add(job.flow, -job.waiting_tokens)
            job.waiting_tokens = 0

    @property
    def _tokens_per_s(self) -> float:
        return self._done_tokens / self._done_s if self._done_s else 0.0

    @property
    def _capacity(self) -> int:
        if self._limits.max_queued_tokens is not None:
            return self._limits.max_queued_tokens
        return max(int(self._tokens_per_s * self._limits.deadline_s * _SHARE), self._floor)

    def _check(self, flow: str, tokens: int) -> None:
        if not self._total:
            return
        capacity = self._capacity
        excess = max(self._queued[flow] + tokens - _GREED * (capacity - self._total), self._total + tokens - capacity)
        if excess <= 0:
            return
        speed = self._tokens_per_s
        wait = max(min(excess, self._total) / speed if speed else 0.0, _SHORTEST_WAIT_S)
        raise ApiError(
            f"{self._total} tokens wait, and {capacity} are what this server can compute in time; ask again in {wait:.0f} s",
            status=429,
            code="rate_limit_exceeded",
            retry_after_s=wait,
        )

    def _add(self, flow: str, tokens: int) -> None:
        self._total += tokens
        self._queued[flow] += tokens
        if not self._queued[flow]:
            del self._queued[flow]
