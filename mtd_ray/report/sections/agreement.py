"""How close each head is to the teachers' target."""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray.numbers import NONE, count, share
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.xy import XY, Point, Series
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.data import Agreement

_TITLE = "How close are the vectors to the target?"
_READING = (
    "Measured on texts that training did not see. The cosine is between a head's vector and its target, the teachers' vectors of "
    "the same text put together. The overlap is how many of a text's ten nearest neighbours in the target are among its ten "
    "nearest in the head; it needs no common size, so every head has one."
)


def agreement(found: Sequence[Agreement]) -> Section:
    """Cosine and overlap by head."""
    if not found:
        return Section("agreement", _TITLE, absent="There are no texts with targets that training did not see.")
    ordered = sorted(found, key=lambda entry: entry.size)
    rows = tuple(
        (count(entry.size), NONE if entry.cosine is None else f"{entry.cosine:.4f}", share(entry.overlap), count(entry.texts))
        for entry in ordered
    )
    table = Table("Agreement of each head with the target", ("head", "cosine to target", "overlap of ten nearest", "texts"), rows)
    return Section("agreement", _TITLE, (_READING,), shown=(*_overlap(ordered), *_cosine(ordered), table))


def _overlap(entries: list[Agreement]) -> tuple[Chart, ...]:
    best = max(entries, key=lambda entry: entry.overlap)
    title = f"{best.overlap * 10:.1f} of ten nearest neighbours are the target's own, with {count(best.size)} numbers"
    points = [(entry.size, 100 * entry.overlap, share(entry.overlap)) for entry in entries]
    return _chart("overlap", title, "Shared among the ten nearest neighbours, %", points)


def _cosine(entries: list[Agreement]) -> tuple[Chart, ...]:
    points = [(entry.size, entry.cosine, f"{entry.cosine:.3f}") for entry in entries if entry.cosine is not None]
    if not points:
        return ()
    size, _, text = max(points, key=lambda point: point[1])
    return _chart("cosine", f"Mean cosine to the target reaches {text}, with {count(size)} numbers", "Mean cosine, −1 to 1", points)


def _chart(key: str, title: str, axis: str, points: list[tuple[int, float, str]]) -> tuple[Chart, ...]:
    """Nothing for a single head: the table says it."""
    if len(points) < 2:
        return ()
    drawn = tuple(Point(float(size), value, f"{count(size)} numbers: {text}", text) for size, value, text in points)
    ticks = tuple((float(size), str(size)) for size, _, _ in points)
    drawing = XY(
        Axis("Numbers in a vector (logarithmic)", log=True, ticks=ticks, margin=0.14),
        Axis(axis, margin=0.25),
        (Series("student", drawn, line=True, first="middle"),),
        high=0.62,
    )
    told = "; ".join(point.tip for point in drawn)
    return (Chart(key, title, f"{axis}, by head. {told}.", drawing, half=True),)
