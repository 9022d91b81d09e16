"""How numbers and lists of names are written for people: in reports, in cards, in the terminal.

A dash stands where nobody knows a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

NONE = "–"


def score(value: float | None) -> str:
    """A score of 0 to 1, as people give it: 0 to 100."""
    return f"{100 * value:.2f}" if _known(value) else NONE


def short_score(value: float) -> str:
    """The same for a label in a chart."""
    return f"{100 * value:.1f}" if _known(value) else NONE


def share(value: float | None) -> str:
    """A share of 1, in percent."""
    return f"{100 * value:.1f} %" if _known(value) else NONE


def span(interval: tuple[float, float] | None, unit: str = "") -> str:
    """An interval of scores or shares, in hundredths."""
    if interval is None or not all(map(_known, interval)):
        return NONE
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}{unit}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def size_of(number_of_bytes: float) -> str:
    """Bytes, in the largest unit that leaves at least one."""
    for unit, step in (("MB", 1024**2), ("KB", 1024)):
        if number_of_bytes >= step:
            return f"{number_of_bytes / step:.4g} {unit}"
    return f"{number_of_bytes:.0f} B"


def usd(value: float | None) -> str:
    """Dollars: cents where they matter, two significant digits below a cent."""
    if not _known(value):
        return NONE
    return f"${value:,.2f}" if value >= 0.01 or value == 0 else f"${value:.2g}"


def plain(value: float, digits: int = 4) -> str:
    """Any number in so many significant digits; with an exponent only where it is very small or very large."""
    if value == 0 or 1e-4 <= abs(value) < 1e9:
        return count(value) if abs(value) >= 1000 else f"{value:#.{digits}g}".rstrip(".")
    return f"{value:.{digits - 1}e}"


def _known(value: float | None) -> TypeGuard[float]:
    """Whether it is a number at all."""
    return value is not None and math.isfinite(value)


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def listed(words: Sequence[str]) -> str:
    """One word or more in a sentence."""
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
