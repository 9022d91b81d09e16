"""The ground of a chart: grid, axes, their ticks and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from mtd_ray.report.charts.labels import FONT, Box, shortened, width_of, wrapped
from mtd_ray.report.charts.scale import Scale, Tick, apart, bounds, linear_ticks, log_ticks
from mtd_ray.report.markup import node


@dataclass(frozen=True)
class Axis:
    """``title`` with its unit. ``ticks``: the places to mark, else round numbers. ``include``: values that must be in the range."""

    title: str
    log: bool = False
    ticks: tuple[Tick, ...] = ()
    include: tuple[float, ...] = ()
    margin: float = 0.08

    def scale(self, values: Sequence[float], start: float, end: float) -> Scale:
        """The scale that shows these values."""
        low, high = bounds([*values, *self.include], log=self.log, margin=self.margin)
        return Scale(low, high, start, end, self.log)

    def marked(self, scale: Scale, pixels: float) -> list[Tick]:
        """Ticks at least ``pixels`` apart."""
        most = max(2, int(abs(scale.end - scale.start) / pixels))
        if self.ticks:
            return apart([tick for tick in self.ticks if scale.low <= tick[0] <= scale.high], scale, pixels)
        return log_ticks(scale.low, scale.high, most) if self.log else linear_ticks(scale.low, scale.high, most)


def horizontal(axis: Axis, scale: Scale, area: Box, *, grid: bool, pixels: float = 48) -> list[Element]:
    """The x axis below ``area``: ``below`` pixels high; a tick's text may have two lines."""
    found = [node("path", d=f"M{area.x0:.1f} {area.y1:.1f}H{area.x1:.1f}", class_="axis")]
    for value, text in axis.marked(scale, pixels):
        x = scale(value)
        found.append(
            node("path", d=f"M{x:.1f} {area.y0 if grid else area.y1:.1f}V{area.y1 + 4:.1f}", class_="grid" if grid else "axis")
        )
        for index, part in enumerate(text.split("\n")):
            look = "tick" if index == 0 else "tick second"
            found.append(node("text", part, x=x, y=area.y1 + 17 + 14 * index, text_anchor="middle", class_=look))
    lines = wrapped(axis.title, area.x1)
    half = max(width_of(text, 0.9 * FONT) for text in lines) / 2
    middle = max(half, min((area.x0 + area.x1) / 2, area.x1 - half))
    first = area.y1 + (52 if _two_lines(axis) else 38)
    for index, text in enumerate(lines):
        found.append(node("text", text, x=middle, y=first + 14 * index, text_anchor="middle", class_="axis-title"))
    return found


def below(axis: Axis, width: float) -> float:
    """Pixels that the x axis takes below an area that ends at ``width``."""
    return (58.0 if _two_lines(axis) else 44.0) + 14 * (len(wrapped(axis.title, width)) - 1)


def _two_lines(axis: Axis) -> bool:
    return any("\n" in text for _, text in axis.ticks)


def vertical(axis: Axis, scale: Scale, area: Box) -> list[Element]:
    """The y axis left of ``area``, its title above it, written horizontally."""
    found = [node("text", shortened(axis.title, area.x1), x=0, y=area.y0 - 12, class_="axis-title")]
    for value, text in axis.marked(scale, 30):
        y = scale(value)
        found.append(node("path", d=f"M{area.x0:.1f} {y:.1f}H{area.x1:.1f}", class_="grid"))
        found.append(node("text", text, x=area.x0 - 8, y=y + 4, text_anchor="end", class_="tick"))
    return found
