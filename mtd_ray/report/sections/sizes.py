"""Score by vector size and by bytes."""

from __future__ import annotations

from dataclasses import replace

from mtd_ray.config import Form
from mtd_ray.evaluate.results import Results, Row
from mtd_ray.report import naming
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.marks import Shape
from mtd_ray.report.charts.xy import XY, Point, Series
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.means import mean_interval
from mtd_ray.report.numbers import count, score, share, short_score, size_of, span

_TITLE = "At which size?"
_NAMED_TASKS = 4
_LOOKS: dict[Form, tuple[str, Shape, str]] = {
    "float32": ("student", "circle", "heads, float32"),
    "int8": ("c1", "square", "int8"),
    "binary": ("c2", "triangle", "binary"),
    "pca": ("c3", "diamond", "largest head, PCA"),
    "cut": ("c4", "cross", "largest head, cut"),
}


def sizes(results: Results) -> Section:
    """Two charts: models by size over all tasks, and the forms of the student's vectors by bytes."""
    if (student := results.student) is None:
        return Section("sizes", _TITLE, absent="Nothing was evaluated, so there is no score by size.")
    shown: list[Chart | Table] = [_models(results, student), _models_table(results)]
    text = ["Bytes are those of one vector: four for each number as float32, one as int8, an eighth as binary."]
    if rows := _forms(results):
        tasks = _common(results, rows)
        text.append(
            f"Vectors made smaller are measured on retrieval and similarity: here on {_on(results, tasks)}. Cut and PCA make the "
            "largest head as short as the smaller ones: by taking its first numbers, or its strongest directions."
        )
        shown += [_forms_chart(results, student, rows, tasks), _forms_table(results, student, rows, tasks)]
    return Section("sizes", _TITLE, tuple(text), shown=tuple(shown))


def _models(results: Results, student: Row) -> Chart:
    best = results.best_teacher
    title = f"With {count(student.size)} numbers the student scores {short_score(student.mean)}"
    title += f", the best teacher {short_score(best.mean)} with {count(best.size)}" if best else ""
    ticks = tuple((float(size), f"{size}\n{size_of(4 * size)}") for size in sorted({row.size for row in results.whole}))
    series = [_heads(results), *(_single(row) for row in results.whole if row.role != "student")]
    told = "; ".join(f"{naming.full(results, row)} with {row.size} numbers {short_score(row.mean)}" for row in results.whole)
    chart = XY(
        Axis("Numbers in a vector, and its bytes as float32 (logarithmic)", log=True, ticks=ticks, margin=0.12),
        Axis(_score_axis(results), margin=0.18),
        tuple(series),
        reference=100 * best.mean if best else None,
    )
    return Chart("sizes", title, f"Mean score by vector size. {told}. The dashed line is the best teacher.", chart)


def _score_axis(results: Results) -> str:
    return "Mean score, 0 to 100" if len(results.tasks) > 1 else "Score, 0 to 100"


def _heads(results: Results) -> Series:
    heads = sorted((row for row in results.whole if row.role == "student"), key=lambda row: row.size)
    points = []
    for row in heads:
        interval = mean_interval(row, list(row.scores))
        default = naming.is_default(results, row)
        label = ("student " if default else "") + short_score(row.mean)
        minor = not default and row not in (heads[0], heads[-1])
        points.append(replace(_point(row, row.size, row.mean, label, interval), minor=minor))
    return Series("student", tuple(points), line=True, first="middle")


def _single(row: Row) -> Series:
    look, shape = _look(row)
    point = _point(row, row.size, row.mean, f"{_label(row)} {short_score(row.mean)}")
    return Series(look, (point,), shape=shape, keyed=True)


def _label(row: Row) -> str:
    """Short: shape and colour say that it is a teacher."""
    return row.role if row.role in ("untrained", "concatenated") else row.name


def _look(row: Row) -> tuple[str, Shape]:
    looks: dict[str, tuple[str, Shape]] = {"untrained": ("grey", "ring"), "concatenated": ("ink", "diamond")}
    return looks.get(row.role, ("teacher", "square"))


def _point(row: Row, x: float, mean: float, label: str, interval: tuple[float, float] | None = None) -> Point:
    tip = f"{naming.model(row)}, {count(row.size)} numbers, {size_of(row.bytes_per_vector)}: {score(mean)}"
    low, high = (100 * interval[0], 100 * interval[1]) if interval else (None, None)
    return Point(float(x), 100 * mean, tip, label, low, high)


def _models_table(results: Results) -> Table:
    header = ("model", "size", "bytes", _score_axis(results).lower(), "95 % interval", "retained", "gap closed")
    rows = tuple(
        (
            naming.full(results, row), count(row.size), count(row.bytes_per_vector), score(row.mean), _interval(row),
            share(results.retained(row)), share(results.gap_closed(row)),
        )
        for row in results.whole
    )  # fmt: skip
    strong = frozenset(index for index, row in enumerate(results.whole) if naming.is_default(results, row))
    caption = "Every model at every size, as it gives its vectors. Retained: share of the best teacher's mean. Gap closed: the way "
    return Table(caption + "from the untrained student (0 %) to the best teacher (100 %)", header, rows, strong=strong)


def _interval(row: Row) -> str:
    return span(mean_interval(row, list(row.scores)))


def _forms(results: Results) -> tuple[Row, ...]:
    """The student's rows, if it was measured in more forms than one."""
    rows = tuple(row for row in results.rows if row.role == "student")
    return rows if any(row.form != "float32" for row in rows) and _common(results, rows) else ()


def _common(results: Results, rows: tuple[Row, ...]) -> tuple[str, ...]:
    return tuple(task.name for task in results.tasks if all(task.name in row.scores for row in rows))


def _on(results: Results, tasks: tuple[str, ...]) -> str:
    if len(tasks) <= _NAMED_TASKS:
        return ", ".join(tasks)
    return f"the {len(tasks)} tasks of " + ", ".join(kind for kind, members in results.types.items() if set(members) & set(tasks))


def _forms_chart(results: Results, student: Row, rows: tuple[Row, ...], tasks: tuple[str, ...]) -> Chart:
    series = []
    for form, (look, shape, name) in _LOOKS.items():
        of_form = sorted((row for row in rows if row.form == form), key=lambda row: row.size)
        points = tuple(
            _point(row, row.bytes_per_vector, row.mean_over(tasks) or 0.0, name if index == _named(form, of_form) else "")
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
    chart = XY(axis, Axis("Mean score, 0 to 100" if len(tasks) > 1 else "Score, 0 to 100", margin=0.1), tuple(series))
    return Chart("forms", _forms_title(results, student, tasks), description, chart)


def _named(form: Form, rows: list[Row]) -> int:
    """Which point has the name: where lines are apart, for cut and PCA at the smallest size."""
    return 0 if form in ("cut", "pca", "binary") else len(rows) - 1


def _form_name(row: Row) -> str:
    return naming.FORMS[row.form] if row.form != "float32" else "float32"


def _forms_title(results: Results, student: Row, tasks: tuple[str, ...]) -> str:
    reference, parts = student.mean_over(tasks), []
    words: dict[Form, str] = {"int8": "a quarter", "binary": "a thirty-second"}
    for form, part in words.items():
        row = results.student_at(student.size, form)
        if row is not None and reference:
            parts.append(f"{form} keeps {share((row.mean_over(tasks) or 0.0) / reference)} in {part} of the bytes")
    return f"At {count(student.size)} numbers " + ", ".join(parts) if parts else "Score by the bytes of one vector"


def _forms_table(results: Results, student: Row, rows: tuple[Row, ...], tasks: tuple[str, ...]) -> Table:
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
