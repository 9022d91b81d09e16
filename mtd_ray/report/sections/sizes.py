"""Score by vector size and by bytes."""

from __future__ import annotations

from dataclasses import replace

from mtd_ray.evaluate.results import Results, Row
from mtd_ray.numbers import count, score, share, short_score, size_of, span
from mtd_ray.report import naming
from mtd_ray.report.charts.frame import Axis
from mtd_ray.report.charts.marks import Shape
from mtd_ray.report.charts.xy import XY, Series
from mtd_ray.report.content import Chart, Section, Table
from mtd_ray.report.means import mean_interval
from mtd_ray.report.sections.forms import bytes_told, chart, forms, point_of, table, words

_TITLE = "At which size?"


def sizes(results: Results) -> Section:
    """Two charts: models by size over all tasks, and the forms of the student's vectors by bytes."""
    if (student := results.student) is None:
        return Section("sizes", _TITLE, absent="Nothing was evaluated, so there is no score by size.")
    shown: list[Chart | Table] = [_models(results, student), _models_table(results)]
    text = [f"Bytes are those of one vector: {bytes_told(results)}."]
    if rows := forms(results):
        text.append(words(results, rows))
        shown += [chart(results, student, rows), table(results, student, rows)]
    return Section("sizes", _TITLE, tuple(text), shown=tuple(shown))


def _models(results: Results, student: Row) -> Chart:
    best = results.best_teacher
    title = f"With {count(student.size)} numbers the student scores {short_score(student.mean)}"
    title += f", the best teacher {short_score(best.mean)} with {count(best.size)}" if best else ""
    ticks = tuple((float(size), f"{size}\n{size_of(4 * size)}") for size in sorted({row.size for row in results.whole}))
    series = [_heads(results), *(_single(row) for row in results.whole if row.role != "student")]
    told = "; ".join(f"{naming.full(results, row)} with {row.size} numbers {short_score(row.mean)}" for row in results.whole)
    drawing = XY(
        Axis("Numbers in a vector, and its bytes as float32 (logarithmic)", log=True, ticks=ticks, margin=0.12),
        Axis(_score_axis(results), margin=0.18),
        tuple(series),
        reference=100 * best.mean if best else None,
    )
    return Chart("sizes", title, f"Mean score by vector size. {told}. The dashed line is the best teacher.", drawing)


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
        points.append(replace(point_of(row, row.size, row.mean, label, interval), minor=minor))
    return Series("student", tuple(points), line=True, first="middle")


def _single(row: Row) -> Series:
    look, shape = _look(row)
    point = point_of(row, row.size, row.mean, f"{_label(row)} {short_score(row.mean)}")
    return Series(look, (point,), shape=shape, keyed=True)


def _label(row: Row) -> str:
    """Short: shape and colour say that it is a teacher."""
    return row.role if row.role in ("untrained", "concatenated") else row.name


def _look(row: Row) -> tuple[str, Shape]:
    looks: dict[str, tuple[str, Shape]] = {"untrained": ("grey", "ring"), "concatenated": ("ink", "diamond")}
    return looks.get(row.role, ("teacher", "square"))


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
