"""One provider endpoint over HTTP: pooled connections, the quota, the budget, and a retry policy that is ours alone."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import httpx

from mtd_ray.teachers.address import header_safe_key, split_url
from mtd_ray.teachers.base import Limiter, RateHints, TeacherUnavailable
from mtd_ray.teachers.errand import Errand, GivenUpError, Reply, Request
from mtd_ray.teachers.hints import read_hints
from mtd_ray.teachers.refusals import Refusals
from mtd_ray.teachers.retry import RetryCredits, RetryPolicy
from mtd_ray.teachers.spending import Purchase, Purse
from mtd_ray.teachers.wire import Wire

_log = logging.getLogger(__name__)

_CONNECT_S = 10.0
_IDLE_S = 30.0
_LONGEST_ANSWER = 5.0  # in timeouts, which bound the silence between two pieces: an answer that drips must end too
_SHORTEST_HINT_S = 0.05  # a hint of no time at all is none
_NEVER_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    *(httpx.ProxyError, httpx.UnsupportedProtocol, httpx.LocalProtocolError),
)


@dataclass
class _Troubles:
    """What one request has been through: failures, rejections, seconds waited for leave to repeat it and for answers."""

    failures: int = 0
    turned_away: int = 0
    waited: float = 0.0


class Endpoint:
    """A URL that is POSTed JSON with a bearer key. Used on one event loop.

    Args:
        teacher: its name in the recipe, for messages.
        url: without the path that the wire format adds.
        wire: the provider's wire format.
        key: reference of the secret; the value is in the connection's headers, and known to what keeps it out of messages.
        connections: requests that may be under way at once.
        purse: pays for requests.
        repeats: gives leave to repeat failed requests.

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
        wire: Wire,
        key: str,
        timeout_s: float,
        connections: int,
        limiter: Limiter,
        purse: Purse,
        policy: RetryPolicy,
        repeats: RetryCredits,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._teacher, self._wire, self._key, self._timeout_s = teacher, wire, key, timeout_s
        self._url, user = split_url(url.rstrip("/") + wire.path, teacher)
        self._limiter, self._purse, self._policy, self._repeats = limiter, purse, policy, repeats
        self._answered = False
        secret = header_safe_key(key)
        self._refusals = Refusals(teacher, self._url, key=key, secret=secret, wire=wire)
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
            outcome = await self._attempt(request, errand, troubles)
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

    async def _attempt(self, request: Request, errand: Errand, troubles: _Troubles) -> Reply | httpx.Response | httpx.RequestError:
        if errand.over:
            raise GivenUpError
        async with self._purse.purchase(request.most_tokens) as purchase:
            # After the money: a grant that has to wait for money would be sent later, together with others that did.
            await self._limiter.acquire(1, request.tokens, request.inputs)
            errand.requests += 1
            errand.on_the_way = True
            purchase.spent = purchase.reserved  # until an answer says otherwise: what is sent may have been paid for
            try:
                sent = self._policy.clock()
                outcome = await self._send(request.body)
                troubles.waited += self._policy.clock() - sent
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
        self._answered = True
        self._limiter.report(rejected=False, hints=read_hints(outcome.headers, rejected=False))
        content = self._wire.parse(outcome.content)
        reply = Reply(content, self._wire.read_usage(content))
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
        delay = self._policy.delay(troubles.failures - 1)
        if isinstance(outcome, httpx.Response):
            delay = max(delay, min(read_hints(outcome.headers).retry_after or 0.0, self._policy.longest_delay_s))
        if self._is_gone(troubles, delay):
            raise self._unavailable(outcome, troubles)
        self._tell(outcome, troubles, delay)
        await self._pause(delay, errand, troubles)
        if not isinstance(outcome, _NEVER_SENT):  # what never reached the server was no burden to it
            waited = await self._repeats.spend(troubles.failures, self._policy.patience_s - troubles.waited)
            if waited is None:
                raise self._unavailable(outcome, troubles)
            troubles.waited += waited

    def _is_gone(self, troubles: _Troubles, delay: float) -> bool:
        """A server that answered before is given time to come back; one that never did may not be there at all."""
        if self._answered:
            return troubles.waited + delay > self._policy.patience_s
        return troubles.failures >= self._policy.attempts

    def _tell(self, outcome: httpx.Response | httpx.RequestError, troubles: _Troubles, delay: float) -> None:
        what = self._refusals.describe(outcome)
        if troubles.failures == self._policy.attempts:
            _log.warning(
                "teacher %s: %s has not answered in %d attempts (%s); it has %.0f s more to come back",
                *(self._teacher, self._url, troubles.failures, what, self._policy.patience_s - troubles.waited),
            )
        else:
            _log.info("teacher %s: %s; asking again in %.1f s", self._teacher, what, delay)

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
