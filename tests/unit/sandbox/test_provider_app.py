"""One account without a network, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from mtd_ray.sandbox.provider_app import Provider
from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_quota import QuotaChange
from mtd_ray.sandbox.provider_settings import ProviderSettings
from mtd_ray.sandbox.provider_timeline import quota_use


class Account:
    """Asks one provider; ``now`` is its time in seconds."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1_000.0
        provider = Provider("key", ProviderSettings(**settings), lambda: self.now)
        self._transport = httpx.ASGITransport(provider.app())

    def ask(self, *bodies: dict[str, Any]) -> list[int]:
        """Send all at once; their statuses."""
        return [answer.status_code for answer in asyncio.run(self._send("POST", "/v1/embeddings", bodies))]

    def ledger(self) -> dict[str, Any]:
        ((answer),) = asyncio.run(self._send("GET", "/sandbox/ledger", [None]))
        figures: dict[str, Any] = answer.json()
        return figures

    async def _send(self, method: str, path: str, bodies: Any) -> list[httpx.Response]:
        headers = {"authorization": "Bearer key"}
        async with httpx.AsyncClient(transport=self._transport, base_url="http://sandbox", headers=headers) as client:
            return list(await asyncio.gather(*(client.request(method, path, json=body) for body in bodies)))


TEN_TOKENS = {"model": "hash-8", "input": "word " * 10}


def test_the_share_of_a_quota_that_halves_is_told_exactly() -> None:
    halves = QuotaChange(at_s=5, tokens_per_minute=600)
    account = Account(tokens_per_minute=1_200, burst_s=0.5, quota_schedule=(halves,))
    statuses: list[int] = []
    for half_second in range(20):
        account.now = 1_000.0 + half_second / 2
        statuses += account.ask(TEN_TOKENS)
    # Two a second are allowed for five seconds, then one a second.
    assert (statuses.count(200), statuses.count(429)) == (15, 5)
    ledger = account.ledger()
    assert [row["tokens"] for row in ledger["timeline"]] == [20] * 5 + [10] * 5
    assert [row["tokens_allowed"] for row in ledger["timeline"]] == pytest.approx([20] * 5 + [10] * 5)
    use = quota_use(ledger, 0, 10)
    assert use.tokens == pytest.approx(1.0)
    assert use.rejected == pytest.approx(0.25)


def test_a_storm_of_429s_ends_by_the_clock() -> None:
    account = Account(faults=(Fault(kind="status", status=429, at=(2,), lasting_s=3),))
    statuses = []
    for account.now in (0.0, 1.0, 2.0, 3.9, 4.1):
        statuses += account.ask(TEN_TOKENS)
    assert statuses == [200, 429, 429, 429, 200]
    assert account.ledger()["refused"] == {"429": 3}


def test_requests_at_once_share_one_model_and_are_all_paid() -> None:
    account = Account()
    assert account.ask(*[TEN_TOKENS] * 8) == [200] * 8
    assert (account.ledger()["requests"], account.ledger()["tokens"]) == (8, 80)


def test_what_is_refused_for_its_content_costs_neither_quota_nor_money() -> None:
    account = Account()
    assert account.ask({"model": "hash-8", "input": ["fine", ""]}, {"model": "nobody's", "input": "a"}) == [400, 404]
    ledger = account.ledger()
    assert (ledger["tokens_granted"], ledger["usd"], ledger["timeline"]) == (0, 0, [])
