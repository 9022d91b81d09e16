"""Score by the length of the text."""

from __future__ import annotations

from collections.abc import Sequence

from mtd_ray.numbers import NONE, count, score, share, short_score
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.xy import XY, Point, Series
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.data import LengthScore

_TITLE = "On texts of which length?"
_MOST_CHARTS = 6
_READING = (
    "Every query (by its longest relevant document) and every pair (by its longer text) is put into one group by its number of "
    "tokens, counted by the student's tokenizer; groups of fewer than ten are put together. Small groups vary by chance."
)


def lengths(scores: Sequence[LengthScore]) -> Section:
    """A chart per task, for those with most items, and all of them in one table."""
    if not scores:
        return Section(
            "lengths", _TITLE, absent="No task was measured whose texts have lengths of their own (retrieval, similarity)."
        )
    tasks: dict[str, list[LengthScore]] = {}
    for entry in scores:
        tasks.setdefault(entry.task, []).append(entry)
    several = [task for task, entries in tasks.items() if len(entries) > 1]
    drawn = sorted(several, key=lambda task: -sum(entry.items for entry in tasks[task]))[:_MOST_CHARTS]
    text = [_READING]
    if len(drawn) < len(several):
        text.append(f"Drawn are the {_MOST_CHARTS} tasks with most queries or pairs; the table has all.")
    if len(several) < len(tasks):
        text.append("Where all texts of a task are in one group, there is nothing to draw.")
    charts = tuple(_chart(index, task, tasks[task]) for index, task in enumerate(drawn))
    return Section("lengths", _TITLE, tuple(text), shown=(*charts, _table(tasks)))


def _group(entry: LengthScore) -> str:
    """What a group is called: from just above its lower bound to its upper."""
    if entry.most is None:
        return f"over {entry.above}" if entry.above else "any"
    return f"{entry.above + 1}–{entry.most}" if entry.above else f"≤ {entry.most}"


def _bound(entry: LengthScore) -> str:
    """The group by one bound, as short as a tick must be."""
    return f"≤ {entry.most}" if entry.most is not None else f"> {entry.above}"


def _chart(index: int, task: str, entries: list[LengthScore]) -> Chart:
    groups = [_group(entry) for entry in entries]
    last = len(entries) - 1
    student = [
        Point(float(x), 100 * entry.student, f"{groups[x]} tokens, student: {score(entry.student)} ({count(entry.items)} items)",
              f"student {short_score(entry.student)}" if x == last else short_score(entry.student))
        for x, entry in enumerate(entries)
    ]  # fmt: skip
    known = [(x, entry.teacher) for x, entry in enumerate(entries) if entry.teacher is not None]
    teacher = [
        Point(float(x), 100 * value, f"{groups[x]} tokens, best teacher: {score(value)}",
              f"best teacher {short_score(value)}" if x == known[-1][0] else short_score(value))
        for x, value in known
    ]  # fmt: skip
    series = [Series("student", tuple(student), line=True, first="middle")]
    if teacher:
        series.append(Series("teacher", tuple(teacher), shape="square", line=True, first="middle"))
    ticks = tuple((float(x), f"{_bound(entry)}\n{count(entry.items)}") for x, entry in enumerate(entries))
    drawing = XY(
        Axis("Tokens of the text, each group above the one before; below, how many items", ticks=ticks, margin=0.12),
        Axis("Score, 0 to 100", margin=0.2),
        tuple(series),
        high=0.62,
    )
    told = "; ".join(point.tip for entry in series for point in entry.points)
    return Chart(
        f"length-{index}", _chart_title(task, entries, groups), f"{task}: score by text length. {told}.", drawing, half=True
    )


def _chart_title(task: str, entries: list[LengthScore], groups: list[str]) -> str:
    shares = {name: entry.student / entry.teacher for name, entry in zip(groups, entries, strict=True) if entry.teacher}
    if not shares:
        return f"{task}: the student's score by length"
    least = min(shares, key=shares.__getitem__)
    return f"{task}: least is retained on texts of {least} tokens ({share(shares[least])})"


def _table(tasks: dict[str, list[LengthScore]]) -> Table:
    rows = tuple(
        (task, _group(entry), count(entry.items), score(entry.student), score(entry.teacher),
         share(entry.student / entry.teacher) if entry.teacher else NONE)
        for task, entries in tasks.items()
        for entry in entries
    )  # fmt: skip
    header = ("task", "tokens", "items", "student", "best teacher", "retained")
    return Table("Score by text length; items are queries or pairs", header, rows, left=2)
