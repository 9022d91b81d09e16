"""What a provider's answer headers say about waiting, in every format providers use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_CURRENCIES = ("requests", "tokens")


def seconds_of_go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as ``1m30.5s`` or ``20ms``; None when it is not one."""
    terms = list(_GO_TERM.finditer(text))
    if not terms or "".join(term.group(0) for term in terms) != text:
        return None
    return sum(float(term.group(1)) * _GO_UNITS[term.group(2)] for term in terms)


def seconds_to_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long the provider asks to be left alone, in seconds; None when it does not say.

    The most exact source wins: ``retry-after-ms``, then ``retry-after`` (seconds or an HTTP date), then the reset time of a
    currency of which nothing remains (``x-ratelimit-reset-requests``, ``x-ratelimit-reset-tokens``; Go durations), then
    ``x-ratelimit-reset`` (Unix seconds, as Cohere sends it).

    Args:
        headers: with case-insensitive or lower-case names.
        now: the time an HTTP date is compared to.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000.0
    if (text := headers.get("retry-after")) is not None and (seconds := _seconds_or_date(text, now)) is not None:
        return seconds
    resets = [_reset(headers, currency) for currency in _CURRENCIES]
    if known := [reset for reset in resets if reset is not None]:
        return max(known)
    return _seconds_until(_number(headers.get("x-ratelimit-reset")), now)


def _seconds_until(unix: float | None, now: datetime | None) -> float | None:
    return None if unix is None else max(0.0, unix - (now or datetime.now(UTC)).timestamp())


def _reset(headers: Mapping[str, str], currency: str) -> float | None:
    if _number(headers.get(f"x-ratelimit-remaining-{currency}")) != 0:
        return None
    return seconds_of_go_duration(headers.get(f"x-ratelimit-reset-{currency}", ""))


def _seconds_or_date(text: str, now: datetime | None) -> float | None:
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d+(\.\d*)?\s*", text):
        return None
    return float(text)
