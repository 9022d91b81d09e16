"""How a question's answers come: side by side, as they arrive, and orderly at the end. The provider is a function here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from mtd_ray.config import OpenAITeacher, VoyageTeacher
from mtd_ray.teachers import AccountError, Answer, BudgetSpent, TeacherError, Unlimited, loop
from mtd_ray.teachers.api import ApiTeacherClient
from mtd_ray.teachers.batches import TokenCount, TokenEstimate
from mtd_ray.teachers.tokenizer import ExactTokens
from tests.unit.teachers.fake_time import FakeTime

Reply = Callable[[list[str]], Awaitable[httpx.Response]]
PRICE = 0.001
BOUND = PRICE * (1 + 16)  # one text of one byte, which is one token at most, and what a provider may add


class Budget:
    """Remembers what was asked of it; has room for so many requests."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.settled: list[tuple[float, float]] = []

    async def reserve(self, usd: float) -> None:
        if not self.room:
            raise BudgetSpent("no room")
        self.room -= 1

    def settle(self, reserved: float, spent: float) -> None:
        self.settled.append((reserved, spent))


class Provider:
    """Answers each text ``n`` with the vector ``[n, 1]``, or does what ``replies`` say for a request's first text."""

    def __init__(self, **replies: Reply) -> None:
        self.asked: list[str] = []
        self.under_way = self.most_under_way = 0
        self._replies = replies

    async def answer(self, request: httpx.Request) -> httpx.Response:
        texts = orjson.loads(request.content)["input"]
        self.asked += texts
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._replies.get(f"on_{texts[0]}", good)(texts)
        finally:
            self.under_way -= 1


async def good(texts: list[str]) -> httpx.Response:
    await asyncio.sleep(0.01)
    data = [{"index": index, "embedding": [float(text), 1.0]} for index, text in enumerate(texts)]
    return httpx.Response(200, content=orjson.dumps({"data": data, "usage": {"prompt_tokens": 1}}))


async def late(texts: list[str]) -> httpx.Response:
    await asyncio.sleep(0.2)
    return await good(texts)


async def never(texts: list[str]) -> httpx.Response:
    await asyncio.sleep(60)
    raise AssertionError


async def no_money(texts: list[str]) -> httpx.Response:
    await asyncio.sleep(0.1)
    return httpx.Response(402, content=b"{}")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ApiTeacherClient]]:
    monkeypatch.setenv("UNIT_KEY", "sk-unit")
    clients = []

    def open_client(
        provider: Provider,
        budget: Budget | None = None,
        *,
        grace_s: float = 5.0,
        name: str = "paid",
        count: TokenCount | None = None,
        **changes: Any,
    ) -> ApiTeacherClient:
        fields = {"provider": "openai", "model": "m", "base_url": "http://x.test/v1", "api_key": "env:UNIT_KEY", "dimensions": 2}
        config = OpenAITeacher.model_validate(fields | {"max_inputs": 1, "usd_per_million_tokens": PRICE * 1e6} | changes)
        policy, transport = FakeTime().policy(grace_s=grace_s), httpx.MockTransport(provider.answer)
        clients.append(ApiTeacherClient(name, config, budget=budget, policy=policy, count=count, transport=transport))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


def digits(count: int) -> Any:
    return [str(number) for number in range(count)], ["passage"] * count


def rows_of(answers: list[Answer | None]) -> list[int]:
    return sorted(row for answer in answers if answer is not None for row in answer.rows)


def test_an_answer_for_each_request_as_they_come(opened: Any) -> None:
    answers = list(opened(Provider(on_0=late)).answers(*digits(4), tick_s=10))
    assert rows_of(answers) == [0, 1, 2, 3]
    assert len(answers) == 4
    assert list(answers[-1].rows) == [0], "the slow one does not hold up the others"
    for answer in answers:
        np.testing.assert_array_equal(answer.vectors, [[answer.rows[0], 1]])
        assert (answer.requests, answer.tokens, answer.usd) == (1, 1, PRICE)


def test_the_caller_gets_a_turn_while_nothing_comes(opened: Any) -> None:
    answers = list(opened(Provider(on_0=late)).answers(*digits(1), tick_s=0.03))
    assert answers[0] is None
    assert answers[-1] is not None


def test_all_threads_together_stay_within_the_requests_in_flight(opened: Any) -> None:
    provider = Provider()
    client = opened(provider, requests_in_flight=3)
    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(lambda _: client.embed(*digits(10)), range(4)):
            np.testing.assert_array_equal(answer.vectors[:, 0], range(10))
    assert provider.most_under_way == 3
    assert len(provider.asked) == 40


def test_at_an_error_what_is_paid_for_still_comes_in_and_nothing_new_is_sent(opened: Any) -> None:
    provider, budget = Provider(on_1=no_money, on_2=late), Budget()
    answers = []
    with pytest.raises(AccountError):
        for answer in opened(provider, budget, requests_in_flight=3).answers(*digits(30), tick_s=10):
            answers.append(answer)
    assert 2 in rows_of(answers), "it was on its way when the error came"
    assert len(provider.asked) < 30
    assert rows_of(answers) == sorted(int(text) for text in provider.asked if text != "1")
    assert len(budget.settled) == 1000 - budget.room, "what was reserved is settled, also for a request that was never sent"
    assert sum(spent for _, spent in budget.settled) == pytest.approx(PRICE * (len(provider.asked) - 1))


def test_the_grace_after_an_error_ends_and_what_never_came_counts_as_paid(opened: Any) -> None:
    budget = Budget()
    with pytest.raises(AccountError):
        opened(Provider(on_0=no_money, on_1=never), budget, grace_s=0.05).embed(*digits(2))
    assert sorted(budget.settled) == [(pytest.approx(BOUND), 0.0), (pytest.approx(BOUND), pytest.approx(BOUND))]


def test_when_the_budget_is_spent_the_answers_it_paid_for_are_given(opened: Any) -> None:
    provider, answers = Provider(), []
    with pytest.raises(BudgetSpent):
        for answer in opened(provider, Budget(room=4)).answers(*digits(30), tick_s=10):
            answers.append(answer)
    assert rows_of(answers) == sorted(map(int, provider.asked))
    assert len(provider.asked) == 4


def test_closing_the_answers_gives_up_the_rest_and_books_what_was_sent(opened: Any) -> None:
    provider, budget = Provider(on_1=never), Budget()
    answers = opened(provider, budget, requests_in_flight=2).answers(*digits(2), tick_s=10)
    assert list(next(answers).rows) == [0]
    answers.close()
    assert provider.under_way == 0
    assert sorted(spent for _, spent in budget.settled) == pytest.approx([PRICE, BOUND])


def test_closing_the_client_ends_its_questions_and_its_thread(opened: Any) -> None:
    client = opened(Provider(on_0=never), name="closed")
    answers = client.answers(*digits(1), tick_s=0.01)
    assert next(answers) is None
    client.close()
    with pytest.raises(TeacherError, match="closed"):
        list(answers)
    client.close()
    assert not any(thread.name == "teacher-closed" for thread in threading.enumerate())


@pytest.mark.parametrize("grants", [True, False])
def test_money_still_being_set_aside_when_the_client_closes_goes_back(opened: Any, monkeypatch: Any, grants: bool) -> None:
    monkeypatch.setattr(loop, "_LEFT_BEHIND_S", 5.0 if grants else 0.05)
    asked = threading.Event()

    class Slow(Budget):
        async def reserve(self, usd: float) -> None:
            asked.set()
            await asyncio.sleep(0.1 if grants else 60)

    provider, budget = Provider(), Slow()
    client = opened(provider, budget)
    answers = client.answers(*digits(1), tick_s=0.01)
    next(answers)
    assert asked.wait(5)
    client.close()
    assert budget.settled == ([(pytest.approx(BOUND), 0.0)] if grants else [])
    assert provider.asked == []


def test_refused_halves_come_one_by_one_and_their_requests_are_counted_once(opened: Any) -> None:
    async def too_much(texts: list[str]) -> httpx.Response:
        return await good(texts) if len(texts) == 1 else httpx.Response(400, content=b"{}")

    answers = list(opened(Provider(on_0=too_much, on_2=too_much), max_inputs=4).answers(*digits(4), tick_s=10))
    assert [list(answer.rows) for answer in answers] == [[0], [1], [2], [3]]
    assert [answer.requests for answer in answers] == [3, 1, 2, 1]


def test_an_answer_that_drips_is_given_up_counted_as_paid_and_asked_for_again(opened: Any) -> None:
    slow = [never]

    async def slow_at_first(texts: list[str]) -> httpx.Response:
        return await (slow.pop() if slow else good)(texts)

    budget = Budget()
    answer = opened(Provider(on_0=slow_at_first), budget, timeout_s=0.02).embed(*digits(1))
    assert answer.requests == 2
    assert answer.usd == pytest.approx(BOUND + PRICE) == sum(spent for _, spent in budget.settled)


def test_requests_are_filled_by_the_tokens_the_provider_would_count(opened: Any) -> None:
    client = opened(Provider(), count=ExactTokens(len), max_inputs=10, max_request_tokens=3)
    assert sorted(len(answer.rows) for answer in client.answers(*digits(7), tick_s=10)) == [1, 3, 3]


def test_a_text_that_is_cut_is_charged_and_believed_only_up_to_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIT_KEY", "sk-unit")
    config = VoyageTeacher.model_validate(
        {"provider": "voyage", "model": "m", "base_url": "http://x.test/v1", "api_key": "env:UNIT_KEY", "dimensions": 2}
        | {"max_tokens": 10, "usd_per_million_tokens": PRICE * 1e6}
    )
    asked: list[int] = []

    class Limiter(Unlimited):
        async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
            asked.append(tokens)

    async def cut(texts: list[str]) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0, 2.0]}], "usage": {"total_tokens": 10}})

    long = "1" * 300
    provider, budget, count = Provider(**{f"on_{long}": cut}), Budget(), TokenEstimate()
    client = ApiTeacherClient(
        "paid", config, limiter=Limiter(), budget=budget, policy=FakeTime().policy(), count=count,
        transport=httpx.MockTransport(provider.answer),
    )  # fmt: skip
    with contextlib.closing(client):
        assert client.embed([long], ["passage"]).usd == pytest.approx(10 * PRICE)
    assert asked == [10]
    assert count.of(long) == 100, "300 bytes for ten tokens are no lesson"
    assert budget.settled[0][0] == pytest.approx(PRICE * (300 + 16)), "where the provider cuts is only its own word"


def test_one_error_is_told_when_many_requests_fail(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AccountError):
        opened(Provider(**{f"on_{number}": no_money for number in range(8)}), requests_in_flight=8).embed(*digits(8))
    gc.collect()
    assert caplog.messages == [], "the other requests' errors are not left for asyncio to print"
