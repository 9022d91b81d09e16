"""From values to places: linear and logarithmic scales, and where their ticks go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Tick = tuple[float, str]


@dataclass(frozen=True)
class Scale:
    """Maps ``low`` … ``high`` to pixels ``start`` … ``end``, which may run backwards."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high, value = (
            (math.log(number) for number in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def bounds(values: Sequence[float], *, log: bool, margin: float) -> tuple[float, float]:
    """Lowest and highest value with some room on both sides, as a share of the range; never empty."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=1.0), max(known, default=1.0)
    if log:
        room = max(math.log(high / low) * margin, 0.1)
        return low / math.exp(room), high * math.exp(room)
    room = (high - low) * margin or abs(high) * 0.05 or 1.0
    return low - room, high + room


def linear_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Round numbers in the range, with at most ``most`` steps."""
    steps = (factor * 10.0**power for power in range(-9, 13) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(index * step, f"{index * step:,.{digits}f}") for index in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[Tick]:
    """Powers of ten in the range, with 2 and 5 times them where there are few; every other one where there are too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(values) <= most:
            break
    stride = -(-len(values) // most)
    return [(value, f"{value:,.0f}" if value >= 1 else f"{value:g}") for value in values[::stride]]


def apart(ticks: Sequence[Tick], scale: Scale, pixels: float) -> list[Tick]:
    """The ticks that leave ``pixels`` between each other, the first ones first."""
    kept: list[Tick] = []
    for tick in sorted(ticks):
        if not kept or abs(scale(tick[0]) - scale(kept[-1][0])) >= pixels:
            kept.append(tick)
    return kept
