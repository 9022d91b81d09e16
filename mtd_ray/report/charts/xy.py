"""Points and lines over two axes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from string import ascii_uppercase
from xml.etree.ElementTree import Element

from mtd_ray.report.charts.frame import Axis, below, horizontal, vertical
from mtd_ray.report.charts.labels import Box, Labels, shortened, spread, width_of
from mtd_ray.report.charts.marks import Place, Shape, line, mark, whisker
from mtd_ray.report.charts.scale import Scale
from mtd_ray.report.markup import node

_NARROW, _MANY = 480.0, 8


@dataclass(frozen=True)
class Point:
    """``tip`` says the point's numbers in words; ``low`` and ``high`` bound its interval; ``label`` stands beside it.

    ``minor``: on a narrow chart with many labels, this one can go.
    """

    x: float
    y: float
    tip: str
    label: str = ""
    low: float | None = None
    high: float | None = None
    minor: bool = False


@dataclass(frozen=True)
class Series:
    """Points of one colour; ``shape`` None: a line without marks, whose last point has the label.

    ``keyed``: on a narrow chart with many labels, its labels become letters with a key below the chart.
    """

    look: str
    points: tuple[Point, ...]
    shape: Shape | None = "circle"
    line: bool = False
    dashed: bool = False
    first: str = "start"
    keyed: bool = False


@dataclass(frozen=True)
class XY:
    """``reference`` is a value of y that a dashed line marks; ``high`` is the height as a share of the width, of wide charts.

    ``ends``: labels stand in a column right of the lines' ends, not beside their points.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    reference: float | None = None
    high: float = 0.4
    ends: bool = False

    def draw(self, width: float) -> tuple[float, list[Element]]:
        known = replace(self, series=tuple(filter(None, map(_finite, self.series))))
        many = sum(bool(point.label) for series in known.series for point in series.points) > _MANY
        return known._lettered(width) if width < _NARROW and many else known._drawn(width)

    def _drawn(self, width: float) -> tuple[float, list[Element]]:
        height = max(width * self.high, min(width, 330.0))
        area = Box(_left(width), 30.0, width - self._right(), height - below(self.x, width - self._right()))
        points = [point for series in self.series for point in series.points]
        x = self.x.scale([point.x for point in points], area.x0, area.x1)
        y = self.y.scale(_values(points, self.reference), area.y1, area.y0)
        ground = [*vertical(self.y, y, area), *horizontal(self.x, x, area, grid=False, pixels=min(56.0, width / 7))]
        if self.reference is not None and math.isfinite(self.reference):
            at = y(self.reference)
            ground.append(node("path", d=f"M{area.x0:.1f} {at:.1f}H{area.x1:.1f}", class_="reference"))
        labels = self._end_labels(y, area) if self.ends else self._labels(x, y, area)
        return height, ground + list(self._marks(x, y)) + labels

    def _lettered(self, width: float) -> tuple[float, list[Element]]:
        """The same chart with letters for labels, and a key of a line each below it."""
        letters, shown, key = iter(ascii_uppercase), [], []
        for series in self.series:
            letter = next(letters, "") if series.keyed else ""
            shown.append(_short(series, letter))
            if letter:
                key.append((letter, series))
        height, elements = replace(self, series=tuple(shown))._drawn(width)
        for index, (letter, series) in enumerate(key):
            y = height + 16 + 18 * index
            elements.append(node("text", letter, x=4, y=y, class_=f"label {series.look}"))
            elements.append(node("text", shortened(series.points[0].label, width - 24), x=24, y=y))
        return height + 10 + 18 * len(key), elements

    def _marks(self, x: Scale, y: Scale) -> Iterator[Element]:
        for series in self.series:
            if series.line and len(series.points) > 1:
                yield line(series.look, [(x(point.x), y(point.y)) for point in series.points], dashed=series.dashed)
        for series in self.series:
            for point in series.points if series.shape else ():
                if point.low is not None and point.high is not None:
                    yield whisker(series.look, (x(point.x), y(point.low)), (x(point.x), y(point.high)))
                yield mark(series.shape or "circle", series.look, (x(point.x), y(point.y)), point.tip)

    def _labels(self, x: Scale, y: Scale, area: Box) -> list[Element]:
        labels = Labels(Box(area.x0, area.y0 - 4, area.x1 + 10, area.y1))
        if self.reference is not None and math.isfinite(self.reference):
            labels.keep_line_free([(area.x0, y(self.reference)), (area.x1, y(self.reference))])
        for series in self.series:
            places: list[Place] = [(x(point.x), y(point.y)) for point in series.points]
            if series.line:
                labels.keep_line_free(places)
            if series.shape:
                for place in places:
                    labels.keep_free(place)
            for point in series.points:
                if point.low is not None and point.high is not None:
                    labels.keep_line_free([(x(point.x), y(point.low)), (x(point.x), y(point.high))])
        return [
            labels.put(point.label, (x(point.x), y(point.y)), series.look, first=series.first)
            for series in self.series
            for point in series.points
            if point.label
        ]

    def _right(self) -> float:
        ends = [series.points[-1].label for series in self.series]
        return 14 + max(map(width_of, ends), default=0.0) if self.ends else 10.0

    def _end_labels(self, y: Scale, area: Box) -> list[Element]:
        ends = sorted((y(series.points[-1].y), series.look, series.points[-1].label) for series in self.series)
        places = spread([place for place, _, _ in ends], 14.0, area.y0, area.y1)
        return [
            node("text", text, x=area.x1 + 8, y=place + 4, class_=f"label {look}")
            for place, (_, look, text) in zip(places, ends, strict=True)
        ]


def _finite(series: Series) -> Series | None:
    """Its points that have a place: a score can be undefined, such as the correlation of a constant."""
    points = tuple(point for point in series.points if math.isfinite(point.x) and math.isfinite(point.y))
    return replace(series, points=points) if points else None


def _short(series: Series, letter: str) -> Series:
    points = (
        replace(point, label="" if point.minor else letter if letter and point.label else point.label) for point in series.points
    )
    return replace(series, points=tuple(points))


def _left(width: float) -> float:
    return 46.0 if width > 400 else 40.0


def _values(points: list[Point], reference: float | None) -> list[float]:
    ends = [value for point in points for value in (point.low, point.y, point.high) if value is not None]
    return ends if reference is None or not math.isfinite(reference) else [*ends, reference]
