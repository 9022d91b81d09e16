"""What stands for a value: marks of different shape, so that colour is never needed to tell them apart, lines and whiskers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal
from xml.etree.ElementTree import Element

from mtd_ray.report.markup import node

Shape = Literal["circle", "ring", "square", "diamond", "triangle", "cross"]
Place = tuple[float, float]
_R = 5.0


def mark(shape: Shape, look: str, at: Place, tip: str) -> Element:
    """A mark; ``look`` is a colour class of the style sheet; ``tip`` is shown by browsers on hovering."""
    group = node("g", node("title", tip), class_=f"mark {look}")
    group.append(_shape(shape, *at))
    return group


def _shape(shape: Shape, x: float, y: float) -> Element:
    if shape in ("circle", "ring"):
        return node("circle", cx=x, cy=y, r=_R, class_=shape)
    corners = {"square": (4, math.pi / 4, 1.25), "diamond": (4, 0.0, 1.4), "triangle": (3, -math.pi / 2, 1.35)}
    if shape in corners:
        number, turn, radius = corners[shape]
        angles = [turn + 2 * math.pi * corner / number for corner in range(number)]
        points = [(x + radius * _R * math.cos(angle), y + radius * _R * math.sin(angle)) for angle in angles]
        return node("polygon", points=" ".join(f"{px:.1f},{py:.1f}" for px, py in points))
    arm = _R * 0.8
    path = f"M{x - arm:.1f} {y - arm:.1f}L{x + arm:.1f} {y + arm:.1f}M{x - arm:.1f} {y + arm:.1f}L{x + arm:.1f} {y - arm:.1f}"
    return node("path", d=path, class_="cross")


def line(look: str, places: Sequence[Place], *, dashed: bool = False) -> Element:
    """A line through places."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return node("path", d=path, class_=f"line {look}" + (" dashed" if dashed else ""))


def whisker(look: str, start: Place, end: Place) -> Element:
    """An interval, horizontal or vertical, with a stroke across at both ends."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = (0.0, 3.5) if y0 == y1 else (3.5, 0.0)
    ends = "".join(f"M{x - dx:.1f} {y - dy:.1f}L{x + dx:.1f} {y + dy:.1f}" for x, y in (start, end))
    return node("path", d=f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}{ends}", class_=f"whisker {look}")
