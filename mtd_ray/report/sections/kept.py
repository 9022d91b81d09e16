"""How much of each teacher the student kept: the figures that a reader came for."""

from __future__ import annotations

import math

from mtd_ray.evaluate.results import Results, Row
from mtd_ray.numbers import NONE, count, score, share, size_of, span, usd
from mtd_ray.report.charts.dots import Dot, DotRow, Dots
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.content import Chart, Figure, Section, Table
from mtd_ray.report.data import ReportData
from mtd_ray.report.means import mean_interval, retained_interval
from mtd_ray.report.table import NOTHING

_TITLE = "How much of each teacher did the student keep?"
_READING = (
    "Retained is the student's mean score as a share of the teacher's, over the tasks that both were measured on. Intervals are "
    "95 %: bootstrap over the queries, pairs, experiments or sets of each task, for the student's score; the "
    "teacher's is taken as given."
)


def kept(data: ReportData) -> Section:
    """Headline figures, and one row per teacher."""
    results, student = data.results, data.results.student
    if student is None:
        return Section("kept", _TITLE, absent=NOTHING)
    figures = tuple(figure for figure in (*_scores(results, student), _small(results, student), _cost(data)) if figure)
    if not results.teachers:
        text = "No teacher was measured (evaluate.baselines is false), so there is nothing to compare the student with."
        return Section("kept", _TITLE, text=(text,), figures=figures)
    return Section("kept", _TITLE, (_READING,), figures, (*_chart(results, student), _table(results, student)))


def _scores(results: Results, student: Row) -> tuple[Figure | None, ...]:
    best, untrained = results.best_teacher, results.untrained
    found = []
    if best is not None:
        interval = retained_interval(results, student, best)
        detail = f"95 % interval {span(interval, ' %')}" if interval else ""
        found.append(Figure(share(results.retained(student)), f"of the best teacher, {best.name}, is retained", detail))
    interval = mean_interval(student, list(student.scores))
    several = len(results.tasks) > 1
    over = f"over {len(results.tasks)} tasks" if several else f"on {results.tasks[0].name}"
    label = f"{'mean score' if several else 'score'} of the student at {count(student.size)} numbers, {over}"
    detail = f"95 % interval {span(interval)}; best teacher {score(best.mean)}" if interval and best else ""
    found.append(Figure(score(student.mean), label, detail))
    if untrained is not None and (closed := results.gap_closed(student)) is not None:
        detail = f"before its first step the student scored {score(untrained.mean)}"
        found.append(Figure(share(closed), "of the way from the untrained student to the best teacher", detail))
    return tuple(found)


def _small(results: Results, student: Row) -> Figure | None:
    """The smallest of the student's vectors that is nearly as good as its best."""
    heads = [row for row in results.whole if row.role == "student"]
    best = max(heads, key=lambda row: row.mean)
    small = min((row for row in heads if row.mean >= 0.98 * best.mean), key=lambda row: row.size, default=best)
    if small is best:
        return None
    label = f"numbers ({size_of(small.bytes_per_vector)}) are the smallest head with at least 98 % of the best head's score"
    return Figure(count(small.size), label, f"{score(small.mean)}; {score(best.mean)} with {count(best.size)} numbers")


def _cost(data: ReportData) -> Figure | None:
    """What the student costs beside the cheapest of the APIs; nothing where no price of its machine is known."""
    known = [entry for entry in data.embedding if entry.usd_per_million]
    own = next((entry for entry in known if entry.role == "student"), None)
    others = [entry for entry in known if entry is not own]
    if own is None or not others:
        return None
    cheap = min(others, key=lambda entry: entry.usd_per_million or 0)
    return Figure(usd(own.usd_per_million), "for a million texts with the student", f"{cheap.name}: {usd(cheap.usd_per_million)}")


def _ranked(results: Results) -> list[Row]:
    """Teachers, the best first."""
    return sorted(results.teachers, key=lambda row: -row.mean)


def _chart(results: Results, student: Row) -> tuple[Chart, ...]:
    """Nothing where no share of any teacher can be told."""
    rows = tuple(_row(results, student, teacher) for teacher in _ranked(results))
    dots = [dot for row in rows for dot in row.dots]
    if not dots:
        return ()
    low = min(dot.low if dot.low is not None else dot.value for dot in dots)
    high = max(dot.high if dot.high is not None else dot.value for dot in dots)
    description = (
        f"For each teacher, the share of its mean score that the student reaches at {student.size} numbers: "
        + "; ".join(f"{row.name} {row.value}" for row in rows)
        + ". The dashed line is the teacher itself, 100 %."
    )
    axis = Axis("Student's mean score as a share of the teacher's, %", include=(low, high, 100.0), margin=0.06)
    return (Chart("retained", _chart_title(results, student), description, Dots(axis, rows, reference=100.0)),)


def _chart_title(results: Results, student: Row) -> str:
    best, retained = results.best_teacher, results.retained(student)
    if best is None or retained is None:
        return "Share of each teacher's mean score that the student keeps"
    teacher = f"its teacher {best.name}" if len(results.teachers) == 1 else f"{best.name}, the best of its teachers"
    return f"The student keeps {share(retained)} of {teacher}"


def _row(results: Results, student: Row, teacher: Row) -> DotRow:
    """Without a mark where the share cannot be told."""
    name, retained = f"of {teacher.name} ({count(teacher.size)})", results.retained(student, of=teacher)
    if retained is None or not math.isfinite(retained):
        return DotRow(name, (), NONE)
    interval = retained_interval(results, student, teacher)
    low, high = (100 * interval[0], 100 * interval[1]) if interval else (None, None)
    tip = f"{teacher.name}: {share(retained)}" + (f", 95 % interval {span(interval, ' %')}" if interval else "")
    return DotRow(name, (Dot(100 * retained, "student", tip, low=low, high=high),), share(retained))


def _table(results: Results, student: Row) -> Table:
    types = results.types if len(results.types) > 1 else {}
    header = ("teacher", "size", "its score", "student's score", "retained", "95 % interval", *(f"{name}" for name in types))
    rows = tuple(
        (
            teacher.name,
            count(teacher.size),
            score(teacher.mean),
            score(student.mean_over(list(teacher.scores))),
            share(results.retained(student, of=teacher)),
            span(retained_interval(results, student, teacher), " %"),
            *(share(results.retained(student, of=teacher, tasks=tasks)) for tasks in types.values()),
        )
        for teacher in _ranked(results)
    )
    caption = f"Share retained of each teacher by the student at {count(student.size)} numbers" + (
        ", over all tasks and by type of task" if types else ""
    )
    return Table(caption, header, rows, strong=frozenset({0}))
