"""Which views a model is measured in, and their words."""

from __future__ import annotations

import pytest

from mtd_ray.config import Form
from mtd_ray.evaluate.views import View, views_for

ALL: tuple[Form, ...] = ("float32", "int8", "binary", "cut", "pca")


def test_forms_are_measured_where_vectors_are_compared() -> None:
    views = {str(view) for view in views_for((64, 256), ALL, "Retrieval")}
    assert views == {"64", "64-int8", "64-binary", "64-cut", "64-pca", "256", "256-int8", "256-binary"}


@pytest.mark.parametrize("task_type", ["Classification", "Clustering", "PairClassification", "Summarization"])
def test_other_tasks_are_measured_in_float32_only(task_type: str) -> None:
    assert views_for((64, 256), ALL, task_type) == (View(64), View(256))


def test_float32_is_measured_whatever_the_forms() -> None:
    assert views_for((64,), ("binary",), "STS") == (View(64, "binary"), View(64))


@pytest.mark.parametrize(
    ("view", "size"), [(View(100), 400), (View(100, "int8"), 100), (View(100, "binary"), 13), (View(8, "pca"), 32)]
)
def test_storage_of_a_vector(view: View, size: int) -> None:
    assert view.bytes == size
    assert View.parse(str(view)) == view
