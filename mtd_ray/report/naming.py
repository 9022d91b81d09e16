"""What models are called in tables and charts."""

from __future__ import annotations

from mtd_ray.config import Form
from mtd_ray.evaluate.results import Results, Row

FORMS: dict[Form, str] = {
    "float32": "float32",
    "int8": "int8",
    "binary": "binary",
    "cut": "largest head, cut",
    "pca": "largest head, PCA",
}


def model(row: Row) -> str:
    """Who it is: short, without its size."""
    return {"student": "student", "untrained": "student, untrained", "teacher": f"teacher {row.name}"}.get(row.role, row.name)


def full(results: Results, row: Row) -> str:
    """The same for a table: the default size and the form are said."""
    if is_default(results, row):
        return "student (default)"
    return model(row) if row.form == "float32" else f"{model(row)}, {FORMS[row.form]}"


def is_default(results: Results, row: Row) -> bool:
    return row is results.student
