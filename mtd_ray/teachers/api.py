"""Teachers behind a provider's API, for threads that know nothing of event loops."""

from __future__ import annotations

import asyncio
import math
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, wait

import httpx

from mtd_ray.config import ApiTeacher, CohereTeacher, Kind, OpenAITeacher, VoyageTeacher, usd_per_token
from mtd_ray.teachers.asking import Asker
from mtd_ray.teachers.base import Answer, Budget, Limiter, TeacherError, Unbudgeted, Unlimited, collected
from mtd_ray.teachers.batches import Batch, TokenCount, fill_batches
from mtd_ray.teachers.cohere import CohereWire
from mtd_ray.teachers.http import Endpoint
from mtd_ray.teachers.loop import LoopThread
from mtd_ray.teachers.openai import OpenAIWire
from mtd_ray.teachers.question import Question
from mtd_ray.teachers.retry import RetryCredits, RetryPolicy
from mtd_ray.teachers.spending import Purse
from mtd_ray.teachers.tokenizer import token_count
from mtd_ray.teachers.voyage import VoyageWire
from mtd_ray.teachers.wire import Wire

_END_S = 5.0


class ApiTeacherClient:
    """Asks a provider over HTTP; see :class:`mtd_ray.teachers.base.TeacherClient`.

    All questions share one event loop on a thread of the client's own, its connections, and ``requests_in_flight``. Vectors travel
    as base64, which is smaller and quicker to read than JSON numbers. Texts that the provider embeds for different tasks go in
    different requests. A client that is not closed keeps its thread until the process ends.

    Args:
        name: the teacher's name in the recipe.
        config: its recipe entry.
        limiter: shares the account's quota with other workers.
        budget: the cap on dollars shared with other workers.
        policy: waiting and retrying; by default with the recipe's patience.
        count: the tokens of a text; by default the provider's tokenizer where it can be had, else an estimate.
        transport: replaces the network in tests.

    Raises:
        RecipeError: the key's reference leads nowhere.
    """

    def __init__(
        self,
        name: str,
        config: ApiTeacher,
        *,
        limiter: Limiter | None = None,
        budget: Budget | None = None,
        policy: RetryPolicy | None = None,
        count: TokenCount | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name, self._config, self._count = name, config, count
        self._policy = policy or RetryPolicy(patience_s=config.patience_s)
        self._wire = wire_of(config)
        repeats = RetryCredits(self._policy)
        self._endpoint = Endpoint(
            name,
            config.base_url,
            wire=self._wire,
            key=config.api_key,
            timeout_s=config.timeout_s,
            connections=config.requests_in_flight,
            limiter=limiter or Unlimited(),
            purse=Purse(budget or Unbudgeted(), usd_per_token(config) or 0.0),
            policy=self._policy,
            repeats=repeats,
            transport=transport,
        )
        patience_s = self._policy.patience_s
        self._asker = Asker(name, config, wire=self._wire, endpoint=self._endpoint, repeats=repeats, patience_s=patience_s)
        self._room = asyncio.Semaphore(config.requests_in_flight)
        self._loop = LoopThread(f"teacher-{name}")

    def __repr__(self) -> str:
        return f"ApiTeacherClient({self._name!r}, {self._endpoint!r})"

    def close(self) -> None:
        """End what is under way, close the connections, end the thread."""
        self._loop.close(self._endpoint.close)

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        """All answers in one, in the order of ``texts``."""
        return collected(self.answers(texts, kinds, tick_s=math.inf), len(texts), self._config.dimensions)

    def answers(self, texts: Sequence[str], kinds: Sequence[Kind], *, tick_s: float) -> Iterator[Answer | None]:
        """One answer for each request, as they come. Texts with a prompt of their kind get it put in front.

        After an error, requests that are on their way may still come in for a while and are given before it is raised.
        """
        count = self._token_count()
        question = Question(
            self._asker,
            self._batches(texts, kinds, count),
            count,
            room=self._room,
            width=max(1, min(self._config.requests_in_flight, len(texts))),
            grace_s=self._policy.grace_s,
        )
        running = self._loop.start(question.run())
        running.add_done_callback(lambda _: question.answers.put(None))
        try:
            yield from _until_none(question.answers, tick_s)
            running.result()
        except CancelledError:
            raise TeacherError(f"teacher {self._name}: the client was closed while a question was under way") from None
        finally:
            self._loop.call(question.give_up)
            wait([running], _END_S)  # until what was sent is booked

    def _token_count(self) -> TokenCount:
        if self._count is None:
            self._count = token_count(self._config)
        return self._count

    def _batches(self, texts: Sequence[str], kinds: Sequence[Kind], count: TokenCount) -> Iterator[Batch]:
        prompted = [self._config.prompts.get(kind, "") + text for text, kind in zip(texts, kinds, strict=True)]
        by_task: dict[str | None, list[int]] = {}
        for row, kind in enumerate(kinds):
            by_task.setdefault(self._wire.task(kind), []).append(row)
        for task, rows in by_task.items():
            yield from fill_batches(prompted, rows, count, task=task, **request_caps(self._config))


def _until_none(answers: queue.SimpleQueue[Answer | None], tick_s: float) -> Iterator[Answer | None]:
    """The answers up to the None that ends them, and None whenever ``tick_s`` passed without one."""
    while True:
        try:
            answer = answers.get(timeout=tick_s if math.isfinite(tick_s) else None)
        except queue.Empty:
            yield None
            continue
        if answer is None:
            return
        yield answer


def wire_of(config: ApiTeacher) -> Wire:
    """The wire format of a teacher's provider."""
    if isinstance(config, CohereTeacher):
        return CohereWire(config)
    if isinstance(config, VoyageTeacher):
        return VoyageWire(config)
    if isinstance(config, OpenAITeacher):
        return OpenAIWire(config)
    raise TypeError(f"no wire format for {type(config).__name__}")


def request_caps(config: ApiTeacher) -> dict[str, int]:
    """The caps of :func:`fill_batches`: the provider's, or the quota of one minute where that is less.

    A request that is larger than the quota would be turned away however long it waits.
    """
    tokens, inputs = config.quota.tokens_per_minute, config.quota.inputs_per_minute
    return {
        "max_inputs": config.max_inputs if inputs is None else max(1, min(config.max_inputs, int(inputs))),
        "max_request_tokens": config.max_request_tokens if tokens is None else max(1, min(config.max_request_tokens, int(tokens))),
        "max_tokens": config.max_tokens,
    }
