"""One provider endpoint over HTTP: pooled connections, the quota, and a retry policy that is ours alone."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from mtd_ray.config import resolve_secret
from mtd_ray.errors import RecipeError
from mtd_ray.teachers.base import AccountError, Limiter, TeacherError, TeacherUnavailable
from mtd_ray.teachers.hints import seconds_to_wait

_log = logging.getLogger(__name__)

_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_LONGEST_REASON = 300
_SHORTEST_HINT_S = 0.05  # a hint of no time at all is none


class RefusedError(Exception):
    """The provider refuses this content (400, 413, 422): it must be split, or the text given up. Never leaves a teacher client."""


@dataclass(frozen=True)
class ErrorBody:
    """What a provider's error answer says: a sentence, a short code, and the parameter it is about."""

    message: str
    code: str = ""
    parameter: str = ""


@dataclass(frozen=True)
class RetryPolicy:
    """When and how long to wait before asking again. Time and chance are parameters so that tests need no real ones.

    Attributes:
        attempts: tries of one request while the server fails or the connection breaks.
        first_delay_s, longest_delay_s: the wait is drawn evenly from 0 to a bound that doubles from the first to the longest
            ("full jitter"), so that workers do not come back together.
        patience_s: how long one request may wait after rejections for the rate limit before the teacher counts as unavailable.
    """

    attempts: int = 7
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    patience_s: float = 900.0
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the given attempt (from 0)."""
        return self.chance() * min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(attempt, 60))


@dataclass
class Tally:
    """Requests sent, and how many of them the rate limit turned away."""

    requests: int = 0
    rejected: int = 0


class Endpoint:
    """A URL that is POSTed JSON with a bearer key.

    Args:
        teacher: its name in the recipe, for messages.
        key: reference of the secret; the value lives in the connection's headers and nowhere else.
        parameters: names of request parameters the recipe decides; a refusal that is about one of them is no text's fault.
        read_error: the provider's error body → :class:`ErrorBody`.

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
        limiter: Limiter,
        policy: RetryPolicy,
        read_error: Callable[[bytes], ErrorBody],
        parameters: frozenset[str] = frozenset(),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._teacher, self._key = teacher, key
        self._url, user = _without_user(_parsed_url(url, teacher))
        self._limiter, self._policy = limiter, policy
        self._read_error, self._parameters = read_error, parameters
        headers = {"authorization": f"Bearer {_header_safe_key(key)}", "content-type": "application/json"}
        self._http = httpx.Client(
            headers=headers, auth=user, timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)), transport=transport
        )

    def __repr__(self) -> str:
        return f"Endpoint({self._url!r}, key={self._key!r})"

    def close(self) -> None:
        self._http.close()

    def post(self, body: bytes, *, tokens: int, inputs: int, tally: Tally) -> bytes:
        """Send a request until it is answered with 200 and return the answer's body.

        Raises:
            RefusedError: the content is refused.
            AccountError, TeacherError, TeacherUnavailable: see their classes.
        """
        failures, turned_away, waited = 0, 0, 0.0
        while True:
            self._limiter.acquire(1, tokens, inputs)
            tally.requests += 1
            response = self._send(body)
            if isinstance(response, httpx.Response):
                if response.status_code == 200:
                    self._limiter.report(rejected=False, retry_after=None)
                    return response.content
                if response.status_code == 429:
                    self._require_account(response)
                    tally.rejected += 1
                    waited += self._wait_for_quota(response, turned_away, waited)
                    turned_away += 1
                    continue
                self._require_repeatable(response)
            failures += 1
            self._wait_for_server(response, failures)

    def _send(self, body: bytes) -> httpx.Response | httpx.RequestError:
        try:
            return self._http.post(self._url, content=body)
        except httpx.RequestError as error:
            return error

    def _wait_for_quota(self, response: httpx.Response, turned_away: int, waited: float) -> float:
        """Wait as asked and return how long, after ``turned_away`` earlier rejections that were waited for ``waited`` seconds."""
        hint = seconds_to_wait(response.headers)
        self._limiter.report(rejected=True, retry_after=hint)
        if hint is None or hint < _SHORTEST_HINT_S:
            delay = self._policy.delay(turned_away)
        else:
            # A little more than asked: workers that were turned away together must not return together.
            delay = hint + self._policy.chance() * (0.05 + 0.1 * hint)
        if waited + delay > self._policy.patience_s:
            raise TeacherUnavailable(
                f"teacher {self._teacher}: {self._url} kept turning requests away for its rate limit "
                f"(now asking to wait {delay:.0f} s); lower teachers.{self._teacher}.quota to what the account has, and run again"
            )
        self._policy.sleep(delay)
        return delay

    def _wait_for_server(self, response: httpx.Response | httpx.RequestError, failures: int) -> None:
        what = self._describe(response)
        if failures >= self._policy.attempts:
            raise TeacherUnavailable(
                f"teacher {self._teacher}: {self._url} did not answer in {failures} attempts, the last time: {what}; "
                f"check the server and run again, committed parts are kept"
            )
        delay = self._policy.delay(failures - 1)
        if isinstance(response, httpx.Response):
            delay = max(delay, min(seconds_to_wait(response.headers) or 0.0, self._policy.longest_delay_s))
        _log.info("teacher %s: %s; asking again in %.1f s", self._teacher, what, delay)
        self._policy.sleep(delay)

    def _require_account(self, response: httpx.Response) -> None:
        error = self._read_error(response.content)
        if error.code in _OUT_OF_MONEY:
            raise AccountError(self._account_message(response))

    def _require_repeatable(self, response: httpx.Response) -> None:
        """Raise unless the failure is the server's, and so may pass."""
        status = response.status_code
        if status in (401, 402, 403):
            raise AccountError(self._account_message(response))
        if status in (400, 413, 422):
            error = self._read_error(response.content)
            if error.parameter in self._parameters:
                raise TeacherError(
                    f"teacher {self._teacher}: the provider refuses the recipe's {error.parameter}: {self._clean(error.message)}"
                )
            raise RefusedError(self._describe(response))
        if status not in (408, 409, 425) and status < 500:
            raise TeacherError(
                f"teacher {self._teacher}: {self._url} answers {self._describe(response)}; "
                f"check teachers.{self._teacher}.base_url and model"
            )

    def _account_message(self, response: httpx.Response) -> str:
        status, error = response.status_code, self._read_error(response.content)
        if status == 401:
            # Providers repeat pieces of a wrong key in this message, so it is not passed on.
            return (
                f"teacher {self._teacher}: {self._url} refuses the key {self._key} (HTTP 401 {error.code}): "
                f"check that {self._key} holds a valid key of this provider"
            )
        what = "has no money or quota left" if status in (402, 429) else "may not use this model"
        detail = f"(HTTP {status} {error.code}): {self._clean(error.message)}"
        return f"teacher {self._teacher}: the account of key {self._key} {what} {detail}"

    def _describe(self, response: httpx.Response | httpx.RequestError) -> str:
        if isinstance(response, httpx.RequestError):
            return f"{type(response).__name__}: {self._clean(str(response))}"
        return f"HTTP {response.status_code}: {self._clean(self._read_error(response.content).message)}"

    def _clean(self, text: str) -> str:
        """One short line of a provider's text, without the key should the provider repeat it."""
        key = self._http.headers["authorization"].removeprefix("Bearer ")
        return " ".join(text.replace(key, self._key).split())[:_LONGEST_REASON]


def _parsed_url(url: str, teacher: str) -> httpx.URL:
    """The URL, or TeacherError. The message does not quote it: what is malformed may well be its password."""
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")  # what the connection would fail at, outside of the HTTP library's errors
    except (httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 80) >= 2**16:
        raise TeacherError(f"teachers.{teacher}.base_url is no URL; it should look like https://api.example.com/v1")
    return parsed


def _without_user(url: httpx.URL) -> tuple[str, tuple[str, str] | None]:
    """The URL without user and password, and these two."""
    return str(url.copy_with(userinfo=b"")), (url.username, url.password) if url.userinfo else None


def _header_safe_key(reference: str) -> str:
    """The key, checked here because a header it does not fit would be quoted, value and all, in the HTTP library's error."""
    key = resolve_secret(reference).strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise RecipeError(f"secret {reference} holds characters that no API key has (a space, a line break, a non-ASCII letter)")
    return key
