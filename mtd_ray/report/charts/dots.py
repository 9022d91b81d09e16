"""Named rows with marks on one horizontal scale: for comparing a few things over some names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from mtd_ray.report.charts.frame import Axis, below, horizontal
from mtd_ray.report.charts.labels import Box, Labels, shortened, width_of
from mtd_ray.report.charts.marks import Place, Shape, mark, whisker
from mtd_ray.report.charts.scale import Scale
from mtd_ray.report.markup import node


@dataclass(frozen=True)
class Dot:
    """A mark; ``tip`` says its number in words, ``label`` stands beside it, ``low`` and ``high`` bound its interval."""

    value: float
    look: str
    tip: str
    shape: Shape = "circle"
    label: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DotRow:
    """``value`` stands at the right end, as text."""

    name: str
    dots: tuple[Dot, ...]
    value: str = ""


@dataclass(frozen=True)
class Dots:
    """The chart. Names stand left of the rows where there is room, else above them. ``reference`` is marked by a dashed line."""

    x: Axis
    rows: tuple[DotRow, ...]
    reference: float | None = None
    joined: bool = False

    def draw(self, width: float) -> tuple[float, list[Element]]:
        known = (replace(row, dots=tuple(dot for dot in row.dots if math.isfinite(dot.value))) for row in self.rows)
        return replace(self, rows=tuple(known))._drawn(width)

    def _drawn(self, width: float) -> tuple[float, list[Element]]:
        beside = width > 480
        step = 36.0 if beside else 50.0
        right = 16 + max((width_of(row.value, 13.5) for row in self.rows), default=0.0)
        left = min(0.3 * width, 24 + max(width_of(row.name) for row in self.rows)) if beside else 8.0
        area = Box(left, 18.0, width - right, 18.0 + step * len(self.rows))
        x = self.x.scale(self._values(), area.x0, area.x1)
        found = horizontal(self.x, x, area, grid=True, pixels=56)
        if self.reference is not None:
            found.append(node("path", d=f"M{x(self.reference):.1f} {area.y0:.1f}V{area.y1:.1f}", class_="reference"))
        for index, row in enumerate(self.rows):
            y = area.y0 + step * (index + (0.5 if beside else 0.68))
            found += self._row(row, y, x, area, beside=beside)
        return area.y1 + below(self.x, area.x1), found + self._labels(x, area, step, beside=beside)

    def _row(self, row: DotRow, y: float, x: Scale, area: Box, *, beside: bool) -> Iterator[Element]:
        if beside:
            yield node("text", shortened(row.name, area.x0 - 16), x=area.x0 - 14, y=y + 4, text_anchor="end", class_="name")
        else:
            yield node("text", shortened(row.name, area.x1 - 8), x=area.x0, y=y - 16, class_="name")
        values = [dot.value for dot in row.dots]
        if self.joined and len(values) > 1:
            yield node("path", d=f"M{x(min(values)):.1f} {y:.1f}H{x(max(values)):.1f}", class_="join")
        for dot in row.dots:
            if dot.low is not None and dot.high is not None:
                yield whisker(dot.look, (x(dot.low), y), (x(dot.high), y))
            yield mark(dot.shape, dot.look, (x(dot.value), y), dot.tip)
        if row.value:
            yield node("text", row.value, x=area.x1 + 12, y=y + 4, class_="value")

    def _labels(self, x: Scale, area: Box, step: float, *, beside: bool) -> list[Element]:
        labels = Labels(Box(area.x0, area.y0 - 16, area.x1 + 8, area.y1))
        found: list[Element] = []
        for index, row in enumerate(self.rows):
            y = area.y0 + step * (index + (0.5 if beside else 0.68))
            if not beside:
                labels.keep_text_free(row.name, (area.x0, y - 16))
            places: list[Place] = [(x(dot.value), y) for dot in row.dots]
            for place in places:
                labels.keep_free(place)
            named = [(dot, place) for dot, place in zip(row.dots, places, strict=True) if dot.label]
            found += [labels.put(dot.label, place, dot.look, first="middle") for dot, place in named]
        return found

    def _values(self) -> list[float]:
        dots = [dot for row in self.rows for dot in row.dots]
        values = [value for dot in dots for value in (dot.low, dot.value, dot.high) if value is not None]
        return values if self.reference is None else [*values, self.reference]
