"""Labels beside what they name: each takes the first free place around its mark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from mtd_ray.report.charts.marks import Place
from mtd_ray.report.markup import node

FONT = 12.0
_LETTER = 0.6  # mean width of a letter of a bold sans-serif font, in its size
_SIDES = (("start", 10.0), ("middle", 0.0), ("end", -10.0))
_AROUND = [("start", 10.0, 4.0), ("middle", 0.0, -11.0), ("middle", 0.0, 20.0), ("end", -10.0, 4.0)]
_AROUND += [(anchor, dx, dy) for dy in (-11.0, 19.0, -26.0, 34.0, -41.0, 49.0, -56.0, 64.0) for anchor, dx in _SIDES]
_FAR = 30.0


@dataclass(frozen=True)
class Box:
    """Left, top, right, bottom in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        wide = min(self.x1, other.x1) - max(self.x0, other.x0)
        high = min(self.y1, other.y1) - max(self.y0, other.y0)
        return wide * high if wide > 0 and high > 0 else 0.0

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass
class Labels:
    """Places labels inside ``area``, around marks and along lines that are made known first."""

    area: Box
    taken: list[Box] = field(default_factory=list)
    lines: list[Box] = field(default_factory=list)

    def keep_free(self, at: Place) -> None:
        """Here is a mark."""
        self.taken.append(_around(at, 6.0))

    def keep_text_free(self, text: str, at: Place) -> None:
        """Here stands a text, from its left end."""
        self.taken.append(_box(text, at, ("start", 0.0, 0.0)))

    def keep_line_free(self, places: Iterable[Place]) -> None:
        """Here runs a line."""
        before: Place | None = None
        for x, y in places:
            if before is not None:
                parts = max(1, round(max(abs(x - before[0]), abs(y - before[1])) / 6))
                for part in range(parts):
                    share = (part + 0.5) / parts
                    self.lines.append(_around((before[0] + share * (x - before[0]), before[1] + share * (y - before[1])), 2.0))
            before = (x, y)

    def put(self, text: str, at: Place, look: str, *, first: str = "start") -> Element:
        """The label in its best place: the first one that covers nothing, those that start with ``first`` tried before others."""
        text = shortened(text, (self.area.x1 - self.area.x0) * 0.6)
        order = sorted(range(len(_AROUND)), key=lambda index: (_AROUND[index][0] != first and index < 4, index))
        tried = [(self._cost(_box(text, at, _AROUND[index])) + 4 * rank, index) for rank, index in enumerate(order)]
        anchor, dx, dy = _AROUND[min(tried)[1]]
        self.taken.append(_box(text, at, (anchor, dx, dy)))
        words = node("text", text, x=at[0] + dx, y=at[1] + dy, text_anchor=anchor, class_=f"label {look}")
        if abs(dy) < _FAR:
            return words
        leader = f"M{at[0]:.1f} {at[1]:.1f}L{at[0] + dx:.1f} {at[1] + dy - (4 if dy > 0 else -3):.1f}"
        return node("g", node("path", d=leader, class_=f"leader {look}"), words)

    def _cost(self, box: Box) -> float:
        outside = box.area - box.overlap(self.area)
        covered = sum(box.overlap(other) for other in self.taken)
        return 20 * outside + 8 * covered + sum(box.overlap(other) for other in self.lines)


def spread(places: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Ascending places moved as little as needed so that they are ``step`` apart; inside ``low`` … ``high`` where they fit."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + step) if found else place)
    if found and found[-1] > high:
        found[-1] = high
        for index in range(len(found) - 2, -1, -1):
            found[index] = min(found[index], found[index + 1] - step)
    return found if not found or found[0] >= low else [place + low - found[0] for place in found]


def shortened(text: str, pixels: float, font: float = FONT) -> str:
    """As much of a text as fits, with an ellipsis in its middle: names differ at both ends."""
    most = int(pixels / (_LETTER * font))
    if len(text) <= most or most < 5:
        return text
    return f"{text[: most // 2].rstrip()}…{text[len(text) - (most - most // 2 - 1) :].lstrip()}"


def wrapped(text: str, pixels: float) -> list[str]:
    """Lines of a text that is not bold, as wide as there is room."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}", 0.9 * FONT) <= pixels:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def width_of(text: str, font: float = FONT) -> float:
    """Estimated width in pixels."""
    return _LETTER * font * len(text)


def _around(at: Place, radius: float) -> Box:
    return Box(at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)


def _box(text: str, at: Place, place: tuple[str, float, float]) -> Box:
    anchor, dx, dy = place
    wide = width_of(text)
    left = at[0] + dx - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return Box(left - 3, at[1] + dy - 0.8 * FONT, left + wide + 3, at[1] + dy + 0.25 * FONT)
