from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator

import httpx
import pytest

from mtd_ray.config import OpenAITeacher
from mtd_ray.errors import RecipeError
from mtd_ray.teachers.base import NO_HINTS, AccountError, RateHints, TeacherError, TeacherUnavailable
from mtd_ray.teachers.errand import Errand, Reply, Request
from mtd_ray.teachers.http import Endpoint
from mtd_ray.teachers.openai import OpenAIWire
from mtd_ray.teachers.refusals import RefusedError
from mtd_ray.teachers.retry import RetryCredits
from mtd_ray.teachers.spending import Purse
from tests.unit.teachers.fake_time import FakeTime

KEY = "sk-canary-7f3a"


class RecordingLimiter:
    def __init__(self) -> None:
        self.acquired: list[tuple[int, int, int]] = []
        self.reports: list[tuple[bool, RateHints]] = []

    async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        self.acquired.append((requests, tokens, inputs))

    def report(self, *, rejected: bool, hints: RateHints = NO_HINTS) -> None:
        self.reports.append((rejected, hints))


class RecordingBudget:
    """A budget with as much room as is asked for."""

    def __init__(self) -> None:
        self.reserved: list[float] = []
        self.settled: list[tuple[float, float]] = []

    async def reserve(self, usd: float) -> None:
        self.reserved.append(usd)

    def settle(self, reserved: float, spent: float) -> None:
        self.settled.append((reserved, spent))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H_KEY", KEY)


def error(status: int, message: str = "no", code: str = "some_code", headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "code": code, "param": None}}, headers=headers)


def answered(tokens: int, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(200, json={"data": [], "usage": {"prompt_tokens": tokens}}, headers=headers)


class Harness:
    """An endpoint whose server answers from a script."""

    def __init__(self, *script: httpx.Response | Exception, url: str = "http://provider.test/v1", **policy: float) -> None:
        self.limiter, self.budget, self.errand = RecordingLimiter(), RecordingBudget(), Errand()
        self.time = FakeTime()
        self.naps = self.time.naps
        self.answer_s = 0.0
        self.urls: list[str] = []
        self.authorizations: list[str] = []
        self._script: Iterator[httpx.Response | Exception] = iter(script)
        self.policy = self.time.policy(**policy)
        wire = OpenAIWire(OpenAITeacher(provider="openai", model="m", dimensions=2))
        self.endpoint = Endpoint(
            "paid",
            url,
            key="env:H_KEY",
            timeout_s=5.0,
            limiter=self.limiter,
            connections=2,
            purse=Purse(self.budget, 0.5),
            policy=self.policy,
            repeats=RetryCredits(self.policy),
            wire=wire,
            transport=httpx.MockTransport(self._answer),
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.time.now += self.answer_s
        self.urls.append(str(request.url))
        self.authorizations.append(request.headers["authorization"])
        what = next(self._script)
        if isinstance(what, Exception):
            raise what
        return what

    def post(self) -> Reply:
        return asyncio.run(self.endpoint.post(Request(b"{}", tokens=10, most_tokens=40, inputs=2), self.errand))


def test_an_answer_is_returned_and_reported() -> None:
    harness = Harness(answered(7))
    assert harness.post().counted == 7
    assert harness.authorizations == [f"Bearer {KEY}"]
    assert harness.limiter.acquired == [(1, 10, 2)]
    assert harness.limiter.reports == [(False, NO_HINTS)]
    assert harness.naps == []


@pytest.mark.parametrize(
    "failure",
    [
        error(500),
        error(503),
        error(408),
        error(409),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        httpx.ConnectError("x"),
    ],
)
def test_what_may_pass_is_asked_again_with_growing_waits(failure: httpx.Response | Exception) -> None:
    harness = Harness(failure, failure, failure, answered(7))
    assert harness.post().counted == 7
    assert harness.naps == [0.25, 0.5, 1.0]
    assert harness.errand.requests == 4
    assert len(harness.limiter.acquired) == 4, "every attempt is paid from the quota"


def test_retries_are_bounded_and_the_last_failure_is_told() -> None:
    harness = Harness(*[error(502, "bad gateway")] * 9)
    with pytest.raises(TeacherUnavailable, match=r"7 attempts.*HTTP 502: bad gateway"):
        harness.post()
    assert harness.errand.requests == 7


def test_a_server_that_answered_before_has_a_quarter_of_an_hour_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(answered(7), *[httpx.ConnectError("restarting")] * 60, answered(8), *[error(502)] * 200)
    harness.post()
    assert harness.post().counted == 8
    assert sum(harness.naps) > 800
    harness.naps.clear()
    with pytest.raises(TeacherUnavailable, match="HTTP 502"):
        harness.post()
    assert 800 < sum(harness.naps) <= 900
    assert ["s more to come back" in message for message in caplog.messages] == [True, True], "each wait is told of once"


def test_timeouts_use_up_the_patience_too() -> None:
    harness = Harness(answered(7), *[httpx.ReadTimeout("slow")] * 200)
    harness.post()
    harness.answer_s = 60.0
    with pytest.raises(TeacherUnavailable):
        harness.post()
    assert harness.time.now <= 900 + 60


def test_money_is_set_aside_before_the_quota_is_asked_and_goes_back_when_that_fails() -> None:
    harness = Harness(answered(7))

    async def gone(requests: int, tokens: int, inputs: int) -> None:
        assert harness.budget.reserved == [20.0]
        raise TeacherUnavailable("the quota actor did not come back")

    harness.limiter.acquire = gone  # type: ignore[method-assign]
    with pytest.raises(TeacherUnavailable):
        harness.post()
    assert harness.budget.settled == [(20.0, 0.0)]
    assert harness.errand.requests == 0


def test_rate_limit_is_reported_waited_for_and_not_counted_as_failure() -> None:
    turned_away = error(429, code="rate_limit_exceeded", headers={"retry-after": "3", "retry-after-ms": "2500"})
    harness = Harness(*[turned_away] * 20, answered(7))
    assert harness.post().counted == 7
    assert (harness.errand.requests, harness.errand.rejected) == (21, 20)
    assert harness.limiter.reports == [(True, RateHints(2.5))] * 20 + [(False, NO_HINTS)]
    assert all(2.5 <= nap <= 3.0 for nap in harness.naps)


def test_the_limits_beside_a_good_answer_are_passed_on() -> None:
    harness = Harness(answered(7, {"x-ratelimit-limit-tokens": "500", "x-ratelimit-remaining-tokens": "20"}))
    harness.post()
    assert harness.limiter.reports == [(False, RateHints(None, {"tokens": 500.0}, {"tokens": 20.0}))]


@pytest.mark.parametrize(
    ("failure", "spent"),
    [
        (error(500), 0.0),
        (error(429), 0.0),
        (httpx.ConnectError("nobody there"), 0.0),
        (httpx.ReadTimeout("it may have been answered"), 20.0),
        (httpx.RemoteProtocolError("cut in the middle"), 20.0),
        (httpx.Response(200, content=b'{"data": ['), 20.0),
    ],
)
def test_a_request_costs_what_it_may_have_been_charged(failure: httpx.Response | Exception, spent: float) -> None:
    harness = Harness(failure, answered(7))
    harness.post()
    assert harness.budget.settled[0] == (20.0, spent)
    assert len(harness.budget.settled) == len(harness.budget.reserved) == harness.errand.requests
    assert harness.errand.usd == sum(cost for _, cost in harness.budget.settled)


def test_the_counted_tokens_are_paid_also_when_they_are_more_than_was_thought() -> None:
    harness = Harness(answered(100))
    harness.post()
    assert harness.budget.settled == [(20.0, 50.0)]


def test_a_server_that_fails_and_fails_is_soon_left_alone() -> None:
    harness = Harness(*[error(503)] * 100)
    for _ in range(3):
        with pytest.raises(TeacherUnavailable):
            harness.post()
    assert harness.errand.requests == 21
    assert sum(harness.naps) > 200, "ten repeats are free, the others are as slow as the trickle"


def test_a_server_that_cannot_be_reached_is_told_of_quickly() -> None:
    harness = Harness(*[httpx.ConnectError("refused")] * 100)
    for _ in range(3):
        with pytest.raises(TeacherUnavailable, match="7 attempts"):
            harness.post()
    assert sum(harness.naps) < 60, "nothing reached it, so there is nothing to spare it"


def test_rate_limit_without_a_hint_backs_off() -> None:
    harness = Harness(error(429), error(429), answered(7))
    harness.post()
    assert harness.naps == [0.25, 0.5]


def test_patience_with_a_rate_limit_ends() -> None:
    harness = Harness(error(429, headers={"retry-after": "86400"}))
    with pytest.raises(TeacherUnavailable, match="rate limit"):
        harness.post()
    assert harness.naps == []


@pytest.mark.parametrize("headers", [{"retry-after": "0"}, {}])
def test_a_server_that_never_lets_in_is_given_up_not_hammered(headers: dict[str, str]) -> None:
    harness = Harness(*[error(429, headers=headers)] * 2000)
    with pytest.raises(TeacherUnavailable, match="rate limit"):
        harness.post()
    assert 800 < sum(harness.naps) <= 900
    assert harness.errand.requests < 100


@pytest.mark.parametrize(
    ("response", "tells"),
    [
        (error(401, f"Incorrect API key provided: {KEY[:6]}***", "invalid_api_key"), "refuses the key env:H_KEY"),
        (error(402, "billing cap"), "no money"),
        (error(403, "no access"), "may not"),
        (error(429, "You exceeded your current quota", "insufficient_quota"), "no money or quota left"),
    ],
)
def test_account_errors_stop_at_once_and_name_the_reference_only(response: httpx.Response, tells: str) -> None:
    harness = Harness(response)
    with pytest.raises(AccountError) as caught:
        harness.post()
    assert tells in str(caught.value)
    assert "env:H_KEY" in str(caught.value)
    assert "sk-" not in str(caught.value)
    assert harness.errand.requests == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_content_is_for_the_caller_to_split(status: int) -> None:
    with pytest.raises(RefusedError, match=f"HTTP {status}: too long"):
        Harness(error(status, "too long")).post()


def test_a_refused_parameter_is_the_recipes_fault() -> None:
    body = {"error": {"message": "must be less than 512", "code": None, "param": "dimensions"}}
    with pytest.raises(TeacherError, match="recipe's dimensions: must be less than 512"):
        Harness(httpx.Response(400, json=body)).post()


@pytest.mark.parametrize("status", [301, 404, 405])
def test_a_wrong_address_is_not_asked_again(status: int) -> None:
    harness = Harness(httpx.Response(status, text="<html>nothing here</html>"))
    with pytest.raises(TeacherError, match=r"check teachers\.paid\.base_url and model"):
        harness.post()
    assert harness.errand.requests == 1


def test_the_key_shows_nowhere() -> None:
    def shown(build: Callable[[], object]) -> str:
        try:
            return repr(build())
        except Exception as problem:
            return f"{problem!r} {problem}"

    harness = Harness(error(500, f"your key {KEY} broke us"), *[httpx.ConnectError(f"key {KEY}")] * 9)
    assert KEY not in shown(harness.post)
    assert KEY not in repr(harness.endpoint)


def test_a_user_in_the_url_is_sent_and_never_shown() -> None:
    harness = Harness(*[httpx.ConnectError("no")] * 9, url="https://ann:pass%20word@provider.test:8443/v1")
    with pytest.raises(TeacherUnavailable) as caught:
        harness.post()
    assert set(harness.authorizations) == {"Basic " + base64.b64encode(b"ann:pass word").decode()}
    for shown in (str(caught.value), repr(harness.endpoint), *harness.urls):
        assert "https://provider.test:8443/v1/embeddings" in shown
        assert "ann" not in shown
        assert "pass" not in shown


@pytest.mark.parametrize(
    "url",
    [
        *("provider.test/v1", "ftp://provider.test/v1", "http:///v1", "http://[::1/v1", "http://ann:se/cret@provider.test/v1"),
        *("http://provider.test:99999/v1", "http://provider..test/v1", "http://provider.test/\x00"),
    ],
)
def test_a_bad_url_is_told_with_its_key_and_not_shown(url: str) -> None:
    with pytest.raises(TeacherError, match=r"teachers\.paid\.base_url is no URL") as caught:
        Harness(url=url)
    assert "se/cret" not in str(caught.value)
    assert "provider" not in str(caught.value)


@pytest.mark.parametrize("value", ["sk-line\nbreak", "sk-“quoted”", "sk two"])
def test_a_value_that_cannot_be_a_key_is_refused_without_showing_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H_KEY", value)
    with pytest.raises(RecipeError, match="env:H_KEY holds characters") as caught:
        Harness()
    assert "sk" not in str(caught.value)


def test_a_blank_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H_KEY", " \t ")
    with pytest.raises(RecipeError, match="env:H_KEY is blank"):
        Harness()


def test_a_missing_key_is_named_by_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("H_KEY")
    with pytest.raises(RecipeError, match="env:H_KEY"):
        Harness()
