"""What a provider's answer headers say about waiting, in every format providers use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mtd_ray.teachers.base import RateHints

_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_CURRENCIES = ("requests", "tokens", "inputs")
_UNIX_FROM = 1e9  # seconds; as a wait this would be thirty years
_UNIX_MS_FROM = 1e11  # milliseconds since 1970; as seconds this would be the year 5138
_LONGEST_BESIDE_AN_ANSWER_S = 60.0  # quotas are per minute


def read_hints(headers: Mapping[str, str], *, rejected: bool = True, now: datetime | None = None) -> RateHints:
    """Everything a provider says about the rate limit beside an answer.

    Args:
        headers: with case-insensitive or lower-case names.
        rejected: the request was over the limit. A reset time that is about no currency only then asks to wait: beside a good
            answer it says when the window ends, not that nothing is left in it. What a good answer asks for is at most a minute,
            so that a long pause only begins once the provider has turned something away.
        now: the time a date is compared to.
    """
    wait = seconds_to_wait(headers, now, rejected=rejected)
    if wait is not None and not rejected:
        wait = min(wait, _LONGEST_BESIDE_AN_ANSWER_S)
    return RateHints(wait, _counts(headers, "limit"), _counts(headers, "remaining"))


def _counts(headers: Mapping[str, str], what: str) -> dict[str, float]:
    counts = {currency: _number(headers.get(f"x-ratelimit-{what}-{currency}")) for currency in _CURRENCIES}
    return {currency: count for currency, count in counts.items() if count is not None}


def seconds_of_go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as ``1m30.5s`` or ``20ms``; None when it is not one."""
    terms = list(_GO_TERM.finditer(text))
    if not terms or "".join(term.group(0) for term in terms) != text:
        return None
    return _finite(sum(float(term.group(1)) * _GO_UNITS[term.group(2)] for term in terms))


def seconds_to_wait(headers: Mapping[str, str], now: datetime | None = None, *, rejected: bool = True) -> float | None:
    """How long the provider asks to be left alone, in seconds; None when it does not say.

    The most exact source wins: ``retry-after-ms``, then ``retry-after`` (seconds, a Go duration, Unix seconds or milliseconds, or
    an HTTP date), then the reset time of a currency of which nothing remains (``x-ratelimit-reset-requests`` and so on; Go
    durations), then ``x-ratelimit-reset`` (as ``retry-after``; Cohere sends Unix seconds). A header that is none of these counts
    as absent.

    Args:
        headers: with case-insensitive or lower-case names.
        now: the time a date is compared to.
        rejected: see :func:`read_hints`.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000.0
    if (text := headers.get("retry-after")) is not None and (seconds := _seconds(text, now)) is not None:
        return seconds
    resets = [_reset(headers, currency) for currency in _CURRENCIES]
    if known := [reset for reset in resets if reset is not None]:
        return max(known)
    return _seconds(headers.get("x-ratelimit-reset", ""), now) if rejected else None


def _reset(headers: Mapping[str, str], currency: str) -> float | None:
    if _number(headers.get(f"x-ratelimit-remaining-{currency}")) != 0:
        return None
    return seconds_of_go_duration(headers.get(f"x-ratelimit-reset-{currency}", ""))


def _seconds(text: str, now: datetime | None) -> float | None:
    """Seconds from now: of a number of seconds, a Go duration, Unix (milli)seconds or an HTTP date; None when it is none."""
    if (number := _number(text)) is not None and number < _UNIX_FROM:
        return number
    if (duration := seconds_of_go_duration(text)) is not None:
        return duration
    try:
        when = parsedate_to_datetime(text) if number is None else _of_unix(number)
        return _until(when if when.tzinfo else when.replace(tzinfo=UTC), now)
    except (ValueError, OverflowError, OSError):  # no date, or one that no calendar holds
        return None


def _of_unix(number: float) -> datetime:
    return datetime.fromtimestamp(number if number < _UNIX_MS_FROM else number / 1000.0, UTC)


def _until(when: datetime, now: datetime | None) -> float:
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d+(\.\d*)?\s*", text):
        return None
    return _finite(float(text))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
