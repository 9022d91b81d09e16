"""Labels beside what they name: each takes the first free place around its mark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from mtd_ray.report.charts.marks import Place
from mtd_ray.report.markup import node

FONT = 12.0
_LETTER = 0.56  # mean width of a letter of a sans-serif font, in its size
_AROUND = (
    ("start", 10, 4), ("middle", 0, -11), ("middle", 0, 20), ("end", -10, 4), ("start", 7, -9), ("start", 7, 17), ("end", -7, -9),
    ("end", -7, 17),
    ("middle", 0, -25), ("middle", 0, 34), ("start", 18, -22), ("end", -18, -22), ("start", 18, 30), ("end", -18, 30),
    ("middle", 0, -40), ("middle", 0, 49),
)  # fmt: skip


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

    def keep_free(self, at: Place, radius: float = 6.0) -> None:
        """Here is a mark."""
        x, y = at
        self.taken.append(Box(x - radius, y - radius, x + radius, y + radius))

    def keep_line_free(self, places: Iterable[Place]) -> None:
        """Here runs a line."""
        before: Place | None = None
        for x, y in places:
            if before is not None:
                parts = max(1, round(max(abs(x - before[0]), abs(y - before[1])) / 6))
                for part in range(parts):
                    share = (part + 0.5) / parts
                    self.keep_free((before[0] + share * (x - before[0]), before[1] + share * (y - before[1])), 2.0)
            before = (x, y)

    def put(self, text: str, at: Place, look: str, *, first: str = "start") -> Element:
        """The label in its best place: the first one that covers nothing, those that start with ``first`` tried before others."""
        text = shortened(text, (self.area.x1 - self.area.x0) * 0.6)
        order = sorted(range(len(_AROUND)), key=lambda index: (_AROUND[index][0] != first and index < 4, index))
        tried = [(self._cost(_box(text, at, _AROUND[index])) + 4 * rank, index) for rank, index in enumerate(order)]
        anchor, dx, dy = _AROUND[min(tried)[1]]
        self.taken.append(_box(text, at, (anchor, dx, dy)))
        return node("text", text, x=at[0] + dx, y=at[1] + dy, text_anchor=anchor, class_=f"label {look}")

    def _cost(self, box: Box) -> float:
        outside = box.area - box.overlap(self.area)
        return 20 * outside + sum(box.overlap(other) for other in self.taken)


def shortened(text: str, pixels: float, font: float = FONT) -> str:
    """As much of a text as fits, with an ellipsis in its middle: names differ at both ends."""
    most = int(pixels / (_LETTER * font))
    if len(text) <= most or most < 5:
        return text
    return f"{text[: most // 2].rstrip()}…{text[len(text) - (most - most // 2 - 1) :].lstrip()}"


def width_of(text: str, font: float = FONT) -> float:
    """Estimated width in pixels."""
    return _LETTER * font * len(text)


def _box(text: str, at: Place, place: tuple[str, int, int]) -> Box:
    anchor, dx, dy = place
    wide = width_of(text)
    left = at[0] + dx - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return Box(left, at[1] + dy - 0.8 * FONT, left + wide, at[1] + dy + 0.25 * FONT)
