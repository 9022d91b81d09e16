"""How training went: the total loss of every stage, and each loss by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtd_ray.numbers import count, plain
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.xy import XY, Point, Series
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.data import CurvePoint

_TITLE = "How did training go?"
_MOST_POINTS = 160
_SCORES = "evaluation"
_LOOKS = ("student", "c1", "c2", "c3", "c4", "teacher", "grey")
_READING = (
    "Losses as they were logged, before their weights; the total is with them. Of a long stage, steps are taken evenly and a point "
    "is the mean of neighbouring ones; the run's metrics.jsonl has every step."
)


@dataclass(frozen=True)
class _Curve:
    """``loss``: what is drawn together; ``line``: whose it is: a head, a head and a teacher, or a task."""

    stage: str
    loss: str
    line: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


def training(curves: Sequence[CurvePoint]) -> Section:
    """A chart per stage for the total, and one per loss with a line per head, which has one colour in all of them."""
    found = _curves(curves)
    if not found:
        return Section("training", _TITLE, absent="The log of training has no steps.")
    together: dict[tuple[str, str], list[_Curve]] = {}
    for curve in found:
        together.setdefault((curve.stage, curve.loss), []).append(curve)
    looks = {line: _LOOKS[place % len(_LOOKS)] for place, line in enumerate(dict.fromkeys(curve.line for curve in found))}
    charts = (_chart(index, group, looks) for index, group in enumerate(together.values()) if len(group[0].steps) > 1)
    table = _table([curve for group in together.values() for curve in group])
    return Section("training", _TITLE, (_READING,), shown=(*charts, table))


def _curves(points: Sequence[CurvePoint]) -> list[_Curve]:
    """Each loss of each stage, and the scores of its checkpoints. Learning rates and speeds are left out."""
    series: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for point in points:
        for name, value in point.values.items():
            head, _, loss = name.partition("/")
            if name == "loss" or (loss and (head.isdigit() or head == _SCORES)):
                series.setdefault((point.stage, name), []).append((point.step, 100 * value if head == _SCORES else value))
    found = []
    for (stage, name), pairs in series.items():
        steps, values = zip(*sorted(pairs), strict=True)
        found.append(_Curve(stage, *_kind(name), steps, values))
    return found


def _kind(name: str) -> tuple[str, str]:
    """What is drawn together, and whose line it is: ``loss``, ``768/cosine``, ``768/cosine/minilm``, ``evaluation/heldout``."""
    head, _, loss = name.partition("/")
    loss, _, teacher = loss.partition("/")
    if head == _SCORES:
        return "score of checkpoints, 0 to 100", f"on {name.partition('/')[2]}"
    if not loss:
        return "total loss", "total"
    return (f"{loss} loss by teacher", f"{head} {teacher}") if teacher else (f"{loss} loss", head)


def _chart(index: int, curves: list[_Curve], looks: dict[str, str]) -> Chart:
    first = curves[0]
    ends = [value for curve in curves for value in curve.values]
    log = min(ends) > 0 and max(ends) > 30 * min(ends)
    series = tuple(_series(curve, looks[curve.line], len(curves)) for curve in curves)
    what = first.loss
    drawing = XY(
        Axis("Step of the stage", margin=0.03, include=(0.0,)),
        Axis(f"{what[0].upper()}{what[1:]}" + (" (logarithmic)" if log else ""), log=log, margin=0.12),
        series,
        high=0.55,
        ends=True,
    )
    told = "; ".join(f"{curve.line} from {plain(curve.values[0])} to {plain(curve.values[-1])}" for curve in curves)
    return Chart(f"curve-{index}", _title(what, curves), f"Stage {first.stage}, {what} by step: {told}.", drawing, half=True)


def _title(what: str, curves: list[_Curve]) -> str:
    curve = max(curves, key=lambda curve: int(curve.line.split()[0]) if curve.line[:1].isdigit() else 0)
    line = {"total": "", "on": f" {curve.line}"}.get(curve.line.partition(" ")[0], f" of head {curve.line}")
    start, end = plain(_mean(curve.values[: _tenth(curve)]), 3), plain(_mean(curve.values[-_tenth(curve) :]), 3)
    return f"{curve.stage}: {what.partition(',')[0]}{line} goes from {start} to {end}"


def _tenth(curve: _Curve) -> int:
    return max(1, len(curve.values) // 10)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _series(curve: _Curve, look: str, lines: int) -> Series:
    width = -(-len(curve.steps) // _MOST_POINTS)
    starts = range(0, len(curve.steps), width)
    points = [(_mean(curve.steps[start : start + width]), _mean(curve.values[start : start + width])) for start in starts]
    label = curve.line if lines > 1 else plain(points[-1][1], 3)
    drawn = tuple(
        Point(step, value, f"step {count(step)}: {plain(value)}", label if index == len(points) - 1 else "")
        for index, (step, value) in enumerate(points)
    )
    return Series(look, drawn, shape=None, line=True)


def _table(curves: list[_Curve]) -> Table:
    rows = tuple(
        (
            curve.stage, curve.loss, curve.line, count(len(curve.steps)),
            *(plain(curve.values[round(part * (len(curve.values) - 1) / 4)]) for part in range(5)), plain(min(curve.values)),
        )
        for curve in curves
    )  # fmt: skip
    header = ("stage", "what", "head", "points", "first", "at 25 %", "at 50 %", "at 75 %", "last", "lowest")
    return Table("Losses and scores along each stage", header, rows, left=3)
