"""What the rows say of the student, and which rows measurements become."""

from __future__ import annotations

import json

import pytest

from mtd_ray.errors import TrainingError
from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.models import ConcatenatedTeachers
from mtd_ray.evaluate.results import MeasuredTask, Results, Row, assert_student_improved, rows_of
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View

TASKS = (MeasuredTask("heldout", "Retrieval"), MeasuredTask("mine", "Retrieval"), MeasuredTask("similar", "STS"))


def scores(retrieval: float, sts: float) -> dict[str, float]:
    return {"heldout": retrieval, "mine": retrieval, "similar": sts}


def results(student: float = 0.7) -> Results:
    rows = (
        Row("student", "student", 256, scores(0.6, 0.62)),
        Row("student", "student", 1024, scores(student, student), intervals={"mine": (0.6, 0.8)}),
        Row("student", "student", 1024, {"heldout": 0.5, "mine": 0.5}, "binary"),
        Row("untrained", "untrained", 1024, scores(0.4, 0.4)),
        Row("teacher", "minilm", 384, {"heldout": 0.78, "mine": 0.82, "similar": 0.8}),
        Row("teacher", "words", 256, scores(0.5, 0.5)),
        Row("concatenated", "all teachers, concatenated", 640, scores(0.81, 0.83)),
    )
    return Results("demo-1234", TASKS, 1024, rows)


def test_retained_and_gap() -> None:
    found = results()
    student, best = found.student, found.best_teacher
    assert student is not None
    assert best is not None
    assert (student.size, best.name) == (1024, "minilm")
    assert found.retained(student) == pytest.approx(0.7 / 0.8)
    assert found.gap_closed(student) == pytest.approx(0.3 / 0.4)
    assert best.bytes_per_vector == 1536


def test_a_form_that_was_measured_on_some_tasks_is_compared_on_those() -> None:
    found = results()
    binary = found.student_at(1024, "binary")
    assert binary is not None
    assert binary.bytes_per_vector == 128
    assert found.retained(binary) == pytest.approx(0.5 / 0.8)
    assert found.gap_closed(binary) == pytest.approx(0.1 / 0.4)
    assert found.mean_of_types(binary) is None


def test_the_mean_of_types_counts_each_type_once() -> None:
    found = results()
    smaller = found.student_at(256)
    assert smaller is not None
    assert found.mean_of_types(smaller) == pytest.approx((0.6 + 0.62) / 2)


def test_json_round_trip() -> None:
    assert Results.from_json(json.loads(json.dumps(results().to_json()))) == results()


def test_no_teachers_no_shares() -> None:
    rows = (Row("student", "student", 8, {"t": 0.5}), Row("untrained", "untrained", 8, {"t": 0.1}))
    alone = Results("r", (MeasuredTask("t", "STS"),), 8, rows)
    assert alone.student is not None
    assert alone.retained(alone.student) is None
    assert alone.gap_closed(alone.student) is None


def test_improved_student_passes_and_without_tasks_nobody_knows() -> None:
    assert_student_improved(results())
    assert_student_improved(Results("demo-1234", (), 8, ()))


@pytest.mark.parametrize("student", [0.4, 0.39])
def test_student_that_learned_nothing_is_an_error_with_both_numbers(student: float) -> None:
    with pytest.raises(TrainingError, match=rf"scores {100 * student:.2f}, before its first step it scored 40\.00"):
        assert_student_improved(results(student))


def test_a_model_has_a_row_per_view_the_whole_vectors_first() -> None:
    model = ConcatenatedTeachers(())
    sts = KeptScore("similar", scores={View(8): TaskScore(0.5), View(16): TaskScore(0.6), View(8, "cut"): TaskScore(0.4)})
    classes = KeptScore("classes", scores={View(8): TaskScore(0.7), View(16): TaskScore(0.8)}, intervals={View(8): (0.6, 0.9)})
    first, second, third = rows_of(model, {"similar": sts, "classes": classes})
    assert (first.view, first.scores, first.intervals) == (View(8), {"similar": 0.5, "classes": 0.7}, {"classes": (0.6, 0.9)})
    assert (second.view, second.scores) == (View(16), {"similar": 0.6, "classes": 0.8})
    assert (third.view, third.scores) == (View(8, "cut"), {"similar": 0.4})


def test_texts_without_a_vector_are_counted_by_task() -> None:
    kept = {"similar": KeptScore("similar", scores={View(8): TaskScore(0.5, failed=3)}),
            "classes": KeptScore("classes", scores={View(8): TaskScore(0.7)})}  # fmt: skip
    (row,) = rows_of(ConcatenatedTeachers(()), kept)
    assert row.failed == {"similar": 3}
    found = Results("run", TASKS, 8, (row,))
    assert Results.from_json(json.loads(json.dumps(found.to_json()))) == found
