"""On which kind of task the student is good, and on which it is not."""

from __future__ import annotations

from collections.abc import Iterator

from mtd_ray.evaluate.results import Results, Row
from mtd_ray.numbers import count, listed, score, share, span
from mtd_ray.report import naming
from mtd_ray.report.charts.dots import Dot, DotRow, Dots
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.marks import Shape
from mtd_ray.report.content import Chart, Section, Table

_TITLE = "On which kind of task?"
_METRICS = {
    "Retrieval": "nDCG@10",
    "InstructionRetrieval": "nDCG@20",
    "Reranking": "nDCG@10 or MAP",
    "STS": "Spearman's rank correlation",
    "Summarization": "Spearman's rank correlation",
    "Classification": "accuracy",
    "MultilabelClassification": "accuracy",
    "PairClassification": "average precision",
    "Clustering": "V-measure",
    "BitextMining": "F1",
    "Regression": "Kendall's rank correlation",
}
"""By type of task, what most of mteb's tasks of it have as their main score."""


def kinds(results: Results) -> Section:
    """A chart and a table by type, and every task."""
    if (student := results.student) is None:
        return Section("kinds", _TITLE, absent="Nothing was evaluated, so there is no score by kind of task.")
    charts = (_chart(results, student),) if len(results.types) > 1 else ()
    by_type = (_by_type(results),) if len(results.types) > 1 or len(results.tasks) > 1 else ()
    return Section("kinds", _TITLE, tuple(_reading(results)), shown=(*charts, *by_type, _by_task(results, student)))


def _reading(results: Results) -> Iterator[str]:
    """What the scores of the types that are there are, and what is made of them."""
    by_metric: dict[str, list[str]] = {}
    for kind in results.types:
        by_metric.setdefault(_METRICS.get(kind, "what the task itself calls its main score"), []).append(kind)
    told = "; ".join(f"{metric} for {listed(kinds)}" for metric, kinds in by_metric.items())
    yield f"Scores are the main scores of the tasks, from 0 to 100: as a rule {told}."
    if len(results.types) > 1:
        yield "Mean(Task) is the mean over tasks; Mean(TaskType) is the mean over types of the mean over their tasks."
    else:
        yield f"All tasks are of one type, {next(iter(results.types))}, so there is nothing to compare."


def _shown(results: Results) -> list[tuple[Row, str, Shape, str]]:
    """Row, look, shape and name of the three that say where the student stands."""
    shown = (
        (results.untrained, "grey", "ring", "untrained"),
        (results.student, "student", "circle", "student"),
        (results.best_teacher, "teacher", "square", "best teacher"),
    )
    return [(row, look, shape, name) for row, look, shape, name in shown if row is not None]  # type: ignore[misc]


def _chart(results: Results, student: Row) -> Chart:
    shares = {name: results.retained(student, tasks=tasks) for name, tasks in results.types.items()}
    known = {name: value for name, value in shares.items() if value is not None}
    title = "Score by type of task"
    if known:
        most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        title = f"Most is retained on {most} ({share(known[most])}), least on {least} ({share(known[least])})"
    rows = []
    for index, (name, tasks) in enumerate(results.types.items()):
        dots = [
            Dot(100 * mean, look, f"{name}, {who}: {score(mean)}", shape, who if index == 0 else "")
            for row, look, shape, who in _shown(results)
            if (mean := row.mean_over(tasks)) is not None
        ]
        rows.append(DotRow(f"{name} ({len(tasks)})", tuple(dots), share(shares[name]) if shares[name] is not None else ""))
    told = "; ".join(f"{row.name}: " + ", ".join(dot.tip.partition(", ")[2] for dot in row.dots) for row in rows)
    axis = Axis("Mean score over the type's tasks, 0 to 100; at the right, share retained of the best teacher")
    description = f"Mean score by type of task, with the number of its tasks. {told}."
    return Chart("kinds", title, description, Dots(axis, tuple(rows), joined=True))


def _by_type(results: Results) -> Table:
    types = results.types
    header = (
        "model",
        "size",
        *(f"{name} ({len(tasks)})" for name, tasks in types.items()),
        "Mean(Task)",
        "Mean(TaskType)",
        "retained",
    )
    rows = tuple(
        (
            naming.full(results, row), count(row.size), *(score(row.mean_over(tasks)) for tasks in types.values()),
            score(row.mean), score(results.mean_of_types(row)), share(results.retained(row)),
        )
        for row in results.whole
    )  # fmt: skip
    strong = frozenset(index for index, row in enumerate(results.whole) if naming.is_default(results, row))
    return Table("Mean score by type of task; in brackets, how many tasks", header, rows, strong=strong)


def _by_task(results: Results, student: Row) -> Table:
    others = [row for row in results.whole if row.role != "student"]
    header = ("task", "type", f"student {student.size}", "95 % interval", *(f"{naming.model(row)} {row.size}" for row in others))
    rows = tuple(
        (
            task.name, task.type, score(student.scores.get(task.name)), span(student.intervals.get(task.name)),
            *(score(row.scores.get(task.name)) for row in others),
        )
        for task in results.tasks
    )  # fmt: skip
    return Table("Every task", header, rows, left=2)
