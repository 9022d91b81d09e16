"""The student's vectors made smaller: quantised, cut, or turned and cut; score by the bytes of one vector."""

from __future__ import annotations

from mtd_ray.config import Form
from mtd_ray.evaluate.results import Results, Row
from mtd_ray.numbers import count, score, share, short_score, size_of
from mtd_ray.report import naming
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.marks import Shape
from mtd_ray.report.charts.xy import XY, Point, Series
from mtd_ray.report.content import Chart, Table

_NAMED_TASKS = 4
_LOOKS: dict[Form, tuple[str, Shape, str]] = {
    "float32": ("student", "circle", "heads, float32"),
    "int8": ("c1", "square", "int8"),
    "binary": ("c2", "triangle", "binary"),
    "pca": ("c3", "diamond", "largest head, PCA"),
    "cut": ("c4", "cross", "largest head, cut"),
}


def forms(results: Results) -> tuple[Row, ...]:
    """The student's rows, if it was measured in more forms than one."""
    rows = tuple(row for row in results.rows if row.role == "student")
    return rows if any(row.form != "float32" for row in rows) and results.common_tasks(rows) else ()


def bytes_told(results: Results) -> str:
    """How many bytes a number takes in the forms that are there."""
    found = {row.form for row in results.rows}
    parts: dict[Form, str] = {"int8": "one as int8", "binary": "an eighth as binary"}
    return ", ".join(("four for each number as float32", *(part for form, part in parts.items() if form in found)))


def words(results: Results, rows: tuple[Row, ...]) -> str:
    """What was measured on what, and what the forms are that are there."""
    found = {row.form for row in rows}
    text = f"Vectors made smaller are measured on retrieval and similarity: here on {_on(results, results.common_tasks(rows))}."
    ways: dict[Form, str] = {
        "cut": "Cut makes the largest head as short as the smaller ones by taking its first numbers.",
        "pca": "PCA does it by taking its strongest directions.",
    }
    if "cut" not in found:
        ways["pca"] = "PCA makes the largest head as short as the smaller ones by taking its strongest directions."
    return " ".join((text, *(way for form, way in ways.items() if form in found)))


def _on(results: Results, tasks: tuple[str, ...]) -> str:
    if len(tasks) <= _NAMED_TASKS:
        return ", ".join(tasks)
    return f"the {len(tasks)} tasks of " + ", ".join(kind for kind, members in results.types.items() if set(members) & set(tasks))


def chart(results: Results, student: Row, rows: tuple[Row, ...]) -> Chart:
    """A line per form, over the bytes of one vector."""
    tasks, series = results.common_tasks(rows), []
    for form, (look, shape, name) in _LOOKS.items():
        of_form = sorted((row for row in rows if row.form == form), key=lambda row: row.size)
        points = tuple(
            point_of(row, row.bytes_per_vector, row.mean_over(tasks) or 0.0, name if index == _named(form, of_form) else "")
            for index, row in enumerate(of_form)
        )
        if points:
            series.append(Series(look, points, shape=shape, line=True, dashed=form in ("cut", "pca"), first="middle"))
    values = sorted({row.bytes_per_vector for row in rows})
    axis = Axis(
        "Bytes of one vector (logarithmic)", log=True, ticks=tuple((float(value), size_of(value)) for value in values), margin=0.1
    )
    told = "; ".join(f"{_form_name(row)} {size_of(row.bytes_per_vector)} {short_score(row.mean_over(tasks) or 0)}" for row in rows)
    description = f"Mean score by the bytes of one vector. {told}."
    drawing = XY(axis, Axis("Mean score, 0 to 100" if len(tasks) > 1 else "Score, 0 to 100", margin=0.1), tuple(series))
    return Chart("forms", _title(results, student, tasks), description, drawing)


def _named(form: Form, rows: list[Row]) -> int:
    """Which point has the name: where lines are apart, for cut and PCA at the smallest size."""
    return 0 if form in ("cut", "pca", "binary") else len(rows) - 1


def _form_name(row: Row) -> str:
    return naming.FORMS[row.form] if row.form != "float32" else "float32"


def _title(results: Results, student: Row, tasks: tuple[str, ...]) -> str:
    reference, parts = student.mean_over(tasks), []
    words: dict[Form, str] = {"int8": "a quarter", "binary": "a thirty-second"}
    for form, part in words.items():
        row = results.student_at(student.size, form)
        if row is not None and reference:
            parts.append(f"{form} keeps {share((row.mean_over(tasks) or 0.0) / reference)} in {part} of the bytes")
    return f"At {count(student.size)} numbers " + ", ".join(parts) if parts else "Score by the bytes of one vector"


def table(results: Results, student: Row, rows: tuple[Row, ...]) -> Table:
    """Every form at every size."""
    tasks = results.common_tasks(rows)
    reference = student.mean_over(tasks)
    lines = tuple(
        (
            _form_name(row), count(row.size), count(row.bytes_per_vector), score(row.mean_over(tasks)),
            share((row.mean_over(tasks) or 0.0) / reference) if reference else "–",
        )
        for row in sorted(rows, key=lambda row: (list(_LOOKS).index(row.form), row.size))
    )  # fmt: skip
    caption = (
        f"The student's vectors in every form, on {_on(results, tasks)}; last column: share of the default head's score as float32"
    )
    return Table(caption, ("form", "size", "bytes", "score", "of default"), lines)


def point_of(row: Row, x: float, mean: float, label: str, interval: tuple[float, float] | None = None) -> Point:
    """A row's place in a chart of scores from 0 to 100."""
    tip = f"{naming.model(row)}, {count(row.size)} numbers, {size_of(row.bytes_per_vector)}: {score(mean)}"
    low, high = (100 * interval[0], 100 * interval[1]) if interval else (None, None)
    return Point(float(x), 100 * mean, tip, label, low, high)
