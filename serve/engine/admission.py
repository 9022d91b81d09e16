"""Who is let into the queue: what can be computed within the deadline at the measured speed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from threading import Lock

from serve.engine.limits import Limits, Load
from serve.engine.speed import Speed
from serve.engine.work import Item, Job
from serve.wire.faults import ApiError

# Half of the model's time goes by age, half by fairness (see FairQueue), so what waits may take half of the time that is left when
# a job becomes urgent.
URGENT = 0.2
_SHARE = (1 - URGENT) / 2
_FIRST_GUESS_TOKENS_PER_CHARACTER = 0.3
_SHORTEST_WAIT_S = 1.0
# So much more than what can be computed in time is let in where nothing else waits: speed is no constant.
_BENEFIT = 2.0


class Admission:
    """Counts the tokens that wait for the models, by flow, and refuses what would not be computed in time. Thread-safe.

    A job is in time if all that waits, or its fair part of it, can be computed by then: so thousands of texts of one client do not
    keep out others. Tokens of another model count by its speed. Before a text is tokenised its length counts, at the tokens per
    character measured so far.

    Args:
        floor: tokens that may always wait, also while the speed is not known.
    """

    def __init__(self, limits: Limits, floor: int) -> None:
        self._limits = limits
        self._floor = floor
        self._lock = Lock()
        self._jobs: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._running = 0
        self._speeds: defaultdict[str, Speed] = defaultdict(Speed)
        self._per_character = _FIRST_GUESS_TOKENS_PER_CHARACTER

    @property
    def load(self) -> Load:
        """What is under way."""
        with self._lock:
            return Load(self._waiting.total(), self._running, self._mixed_speed)

    def guess(self, rows: Sequence[str | list[int]], longest: int, overhead: int) -> int:
        """Tokens of texts that are not tokenised yet.

        Args:
            longest: a text is cut or refused beyond it.
            overhead: tokens of the prompt and special tokens around each.
        """
        ratio = self._per_character
        return sum(max(min(overhead + (int(len(row) * ratio) if isinstance(row, str) else len(row)), longest), 1) for row in rows)

    def learn(self, rows: Sequence[str | list[int]], lengths: Sequence[int], longest: int, overhead: int) -> None:
        """Texts turned out to have so many tokens. Those that were cut say nothing."""
        known = [(len(row), length) for row, length in zip(rows, lengths, strict=True) if isinstance(row, str) and length < longest]
        characters = sum(count for count, _ in known)
        if characters:
            tokens = max(sum(length - overhead for _, length in known), 0)
            weight = min(characters / 10_000, 0.1)
            with self._lock:
                self._per_character += weight * (tokens / characters - self._per_character)

    def check(self, flow: str, characters: int) -> None:
        """Whether a request of so many characters has a chance. Not all need be text, so a long one gets the benefit of doubt.

        Raises:
            ApiError: (429) it has none now.
        """
        with self._lock:
            fastest = max(self._speeds, key=lambda model: self._speeds[model].per_s, default="")
            self._check(flow, fastest, min(int(characters * self._per_character), self._floor))

    def check_size(self, model: str, tokens: int) -> None:
        """Whether a request of so many tokens can be computed in time if nothing else is.

        Raises:
            ApiError: (413) it cannot.
        """
        with self._lock:
            speed = self._speeds[model]
            most = speed.per_s * self._limits.deadline_s
        if speed.is_known_well and tokens > _BENEFIT * most:
            raise ApiError(
                f"the inputs have {tokens} tokens, and this server computes about {most:.0f} within its deadline of "
                f"{self._limits.deadline_s:g} s; send fewer texts at once",
                status=413,
                param="input",
                code="request_too_long",
            )

    def enter(self, job: Job, tokens: int) -> None:
        """A job waits, of about so many tokens.

        Raises:
            ApiError: (429) there is no room for it.
        """
        with self._lock:
            self._check(job.flow, job.model, tokens)
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

    def measured(self, model: str, tokens: int, seconds: float) -> None:
        """A full forward pass took so long."""
        with self._lock:
            self._speeds[model].measured(tokens, seconds)

    @property
    def _mixed_speed(self) -> float:
        """At which all that waits will be computed; where nothing waits, that of the last passes."""
        seconds = sum(tokens / self._speed(model) for model, tokens in self._waiting.items() if self._speed(model))
        if seconds:
            return self._waiting.total() / seconds
        measured_s = sum(speed.seconds for speed in self._speeds.values())
        return sum(speed.tokens for speed in self._speeds.values()) / measured_s if measured_s else 0.0

    def _speed(self, model: str) -> float:
        return self._speeds[model].per_s

    def _room(self, model: str) -> tuple[int, int]:
        """Tokens that wait and that may wait, as if all were of this model."""
        if self._limits.max_queued_tokens is not None:
            return self._waiting.total(), self._limits.max_queued_tokens
        speed = self._speed(model)
        waiting = sum(tokens * (speed / (self._speed(other) or speed) if speed else 1) for other, tokens in self._waiting.items())
        return int(waiting), max(int(speed * self._limits.deadline_s * _SHARE), self._floor)

    def _check(self, flow: str, model: str, tokens: int) -> None:
        waiting, capacity = self._room(model)
        excess = waiting + tokens - capacity
        flows = len(self._jobs) + (flow not in self._jobs)
        if not waiting or excess <= 0 or tokens * flows * (self._jobs[flow] + 1) <= capacity:
            return
        speed = self._speed(model)
        wait = max(min(excess, waiting) / speed if speed else 0.0, _SHORTEST_WAIT_S)
        raise ApiError(
            f"{waiting} tokens wait, and {capacity} are what this server can compute in time; ask again in {wait:.0f} s",
            status=429,
            code="rate_limit_exceeded",
            retry_after_s=wait,
        )

    def _set(self, job: Job, tokens: int) -> None:
        self._waiting[job.model] += tokens - job.waiting_tokens
        self._jobs[job.flow] += (tokens > 0) - (job.waiting_tokens > 0)
        if not self._jobs[job.flow]:
            del self._jobs[job.flow]
        job.waiting_tokens = tokens
