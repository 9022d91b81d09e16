"""One provider endpoint over HTTP: pooled connections, the quota, the budget, and a retry policy that is ours alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from mtd_ray.teachers.address import header_safe_key, split_url
from mtd_ray.teachers.base import Answer, Limiter, RateHints, TeacherUnavailable, Vectors
from mtd_ray.teachers.hints import read_hints
from mtd_ray.teachers.refusals import ErrorBody, Refusals
from mtd_ray.teachers.retry import RetryCredits, RetryPolicy
from mtd_ray.teachers.spending import Purchase, Purse

_log = logging.getLogger(__name__)

_CONNECT_S = 10.0
_IDLE_S = 30.0
_LONGEST_ANSWER = 5.0  # in timeouts, which bound the silence between two pieces: an answer that drips must end too
_SHORTEST_HINT_S = 0.05  # a hint of no time at all is none
_NEVER_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    *(httpx.ProxyError, httpx.UnsupportedProtocol, httpx.LocalProtocolError),
)


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


@dataclass
class _Troubles:
    """What one request has been through: failures, rejections, seconds waited."""

    failures: int = 0
    turned_away: int = 0
    waited: float = 0.0


class Endpoint:
    """A URL that is POSTed JSON with a bearer key. Used on one event loop.

    Args:
        teacher: its name in the recipe, for messages.
        key: reference of the secret; the value lives in the connection's headers and nowhere else.
        connections: requests that may be under way at once.
        purse: pays for requests.
        repeats: gives leave to repeat failed requests.
        parse: an answer's JSON, None when it is none.
        read_usage: the tokens that an answer's JSON counts, 0 when it does not say.
        read_error, parameters: see :class:`mtd_ray.teachers.refusals.Refusals`.

    A URL's ``user:password@`` is sent as basic authorization and shown nowhere.

    Raises:
        RecipeError: the key's reference leads nowhere, or what it leads to cannot be a key.
        TeacherError: the URL is none.
    """

    def __init__(
        self,
        teacher: str,
        url: str,
        *,
        key: str,
        timeout_s: float,
        connections: int,
        limiter: Limiter,
        purse: Purse,
        policy: RetryPolicy,
        repeats: RetryCredits,
        parse: Callable[[bytes], Any],
        read_usage: Callable[[Any], int],
        read_error: Callable[[bytes], ErrorBody],
        parameters: frozenset[str] = frozenset(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._teacher, self._key, self._timeout_s = teacher, key, timeout_s
        self._url, user = split_url(url, teacher)
        self._limiter, self._purse, self._policy, self._repeats = limiter, purse, policy, repeats
        self._parse, self._read_usage = parse, read_usage
        secret = header_safe_key(key)
        self._refusals = Refusals(teacher, self._url, key=key, secret=secret, parameters=parameters, read_error=read_error)
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {secret}", "content-type": "application/json"},
            auth=user,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_IDLE_S),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"Endpoint({self._url!r}, key={self._key!r})"

    async def close(self) -> None:
        await self._http.aclose()

    async def post(self, request: Request, errand: Errand) -> Reply:
        """Send a request until it is answered with 200.

        Raises:
            GivenUpError: the errand is over.
            RefusedError: the content is refused.
            AccountError, TeacherError, TeacherUnavailable, BudgetSpent: see their classes.
        """
        troubles = _Troubles()
        while True:
            outcome = await self._attempt(request, errand)
            if isinstance(outcome, Reply):
                return outcome
            if isinstance(outcome, httpx.Response):
                if outcome.status_code == 429:
                    self._refusals.require_account(outcome)
                    errand.rejected += 1
                    await self._wait_for_quota(outcome, errand, troubles)
                    continue
                self._refusals.require_repeatable(outcome)
            await self._wait_for_server(outcome, errand, troubles)

    async def _attempt(self, request: Request, errand: Errand) -> Reply | httpx.Response | httpx.RequestError:
        await self._limiter.acquire(1, request.tokens, request.inputs)
        async with self._purse.purchase(request.most_tokens) as purchase:
            if errand.over:
                raise GivenUpError
            errand.requests += 1
            errand.on_the_way = True
            purchase.spent = purchase.reserved  # until an answer says otherwise: what is sent may have been paid for
            try:
                outcome = await self._send(request.body)
                return self._booked(outcome, request, errand, purchase)
            finally:
                errand.on_the_way = False
                errand.usd += purchase.spent

    async def _send(self, body: bytes) -> httpx.Response | httpx.RequestError:
        try:
            async with asyncio.timeout(_LONGEST_ANSWER * self._timeout_s):
                return await self._http.post(self._url, content=body)
        except httpx.RequestError as error:
            return error
        except TimeoutError:
            return httpx.ReadTimeout("the answer was not complete in time")

    def _booked(
        self, outcome: httpx.Response | httpx.RequestError, request: Request, errand: Errand, purchase: Purchase
    ) -> Reply | httpx.Response | httpx.RequestError:
        if isinstance(outcome, httpx.RequestError):
            if isinstance(outcome, _NEVER_SENT):
                purchase.spent = 0.0
            return outcome
        if outcome.status_code != 200:
            purchase.spent = 0.0
            return outcome
        self._limiter.report(rejected=False, hints=read_hints(outcome.headers, rejected=False))
        content = self._parse(outcome.content)
        reply = Reply(content, self._read_usage(content))
        errand.tokens += reply.counted or request.tokens
        if reply.counted:
            purchase.spent = self._purse.cost(reply.counted)
        return reply

    async def _wait_for_quota(self, response: httpx.Response, errand: Errand, troubles: _Troubles) -> None:
        hints = read_hints(response.headers)
        self._limiter.report(rejected=True, hints=hints)
        delay = self._quota_delay(hints, troubles.turned_away)
        troubles.turned_away += 1
        if troubles.waited + delay > self._policy.patience_s:
            raise TeacherUnavailable(
                f"teacher {self._teacher}: {self._url} kept turning requests away for its rate limit "
                f"(now asking to wait {delay:.0f} s); lower teachers.{self._teacher}.quota to what the account has, and run again"
            )
        await self._pause(delay, errand, troubles)

    def _quota_delay(self, hints: RateHints, turned_away: int) -> float:
        if hints.retry_after is None or hints.retry_after < _SHORTEST_HINT_S:
            return self._policy.delay(turned_away)
        # A little more than asked: workers that were turned away together must not return together.
        return hints.retry_after + self._policy.chance() * (0.05 + 0.1 * hints.retry_after)

    async def _wait_for_server(self, outcome: httpx.Response | httpx.RequestError, errand: Errand, troubles: _Troubles) -> None:
        troubles.failures += 1
        if troubles.failures >= self._policy.attempts:
            raise self._unavailable(outcome, troubles)
        delay = self._policy.delay(troubles.failures - 1)
        if isinstance(outcome, httpx.Response):
            delay = max(delay, min(read_hints(outcome.headers).retry_after or 0.0, self._policy.longest_delay_s))
        _log.info("teacher %s: %s; asking again in %.1f s", self._teacher, self._refusals.describe(outcome), delay)
        await self._pause(delay, errand, troubles)
        if not isinstance(outcome, _NEVER_SENT):  # what never reached the server was no burden to it
            waited = await self._repeats.spend(troubles.failures, self._policy.patience_s - troubles.waited)
            if waited is None:
                raise self._unavailable(outcome, troubles)
            troubles.waited += waited

    async def _pause(self, delay: float, errand: Errand, troubles: _Troubles) -> None:
        if errand.over:
            raise GivenUpError
        troubles.waited += delay
        await self._policy.sleep(delay)

    def _unavailable(self, outcome: httpx.Response | httpx.RequestError, troubles: _Troubles) -> TeacherUnavailable:
        return TeacherUnavailable(
            f"teacher {self._teacher}: {self._url} did not answer in {troubles.failures} attempts, the last time: "
            f"{self._refusals.describe(outcome)}; check the server and run again, committed parts are kept"
        )
