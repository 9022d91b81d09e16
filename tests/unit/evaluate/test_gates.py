"""What a recipe requires: met, missed by how much, or not to be told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mtd_ray.config.evaluate import Requirements
from mtd_ray.evaluate.gates import unmet
from mtd_ray.evaluate.results import MeasuredTask, Results, Row

STUDENT = (Row("student", "student", 256, {"a": 0.6, "b": 0.7}), Row("student", "student", 768, {"a": 0.6, "b": 0.8}))
UNTRAINED = Row("untrained", "untrained", 768, {"a": 0.2, "b": 0.2})
TEACHER = Row("teacher", "minilm", 384, {"a": 0.7, "b": 0.9})


def results(*rows: Row) -> Results:
    return Results("run", (MeasuredTask("a", "STS"), MeasuredTask("b", "STS")), 768, rows)


EVERYTHING = results(*STUDENT, UNTRAINED, TEACHER)


def test_what_is_reached_to_the_last_digit_is_enough() -> None:
    require = Requirements(retained=0.875, gap_closed=0.5 / 0.6, heads={256: 0.65 / 0.7}, tasks={"a": 60.0})
    assert unmet(require, EVERYTHING) == ()
    assert unmet(Requirements(), results()) == ()


@pytest.mark.parametrize(
    ("require", "line"),
    [
        (
            Requirements(retained=0.95),
            "require.retained: 0.8750 of the best teacher (the student's mean is 70.00, teacher minilm's 80.00) is 0.0750 less "
            "than 0.95",
        ),
        (
            Requirements(gap_closed=0.9),
            "require.gap_closed: 0.8333 of the way to the best teacher (the student's mean is 70.00, teacher minilm's 80.00, "
            "untrained 20.00) is 0.0667 less than 0.9",
        ),
        (Requirements(heads={256: 0.98}), "require.heads.256: 0.9286 of head 768 (65.00 and 70.00) is 0.0514 less than 0.98"),
        (Requirements(tasks={"b": 81.5}), "require.tasks.b: 80.00 is 1.50 less than 81.5"),
    ],
)
def test_what_is_missed_says_by_how_much(require: Requirements, line: str) -> None:
    assert unmet(require, EVERYTHING) == (line,)


def test_undefined_scores_meet_nothing() -> None:
    undefined = Row("student", "student", 768, {"a": math.nan, "b": 0.8})
    require = Requirements(retained=0.5, gap_closed=0.5, heads={256: 0.5, 768: 0.5}, tasks={"a": 50.0, "b": 70.0})
    lines = unmet(require, results(STUDENT[0], undefined, UNTRAINED, TEACHER))
    assert [line.partition(": ")[0] for line in lines] == [
        "require.retained", "require.gap_closed", "require.heads.256", "require.heads.768", "require.tasks.a",
    ]  # fmt: skip
    assert "a score is undefined" in lines[0]
    assert lines[-1].startswith("require.tasks.a: a score is undefined")


def test_a_teacher_with_an_undefined_score_is_not_the_best() -> None:
    undefined = Row("teacher", "odd", 384, {"a": math.nan, "b": 0.9})
    assert results(*STUDENT, undefined, TEACHER).best_teacher == TEACHER
    assert results(*STUDENT, undefined).best_teacher is None


def test_what_cannot_be_told_is_not_met() -> None:
    require = Requirements(retained=0.5, heads={512: 0.5}, tasks={"c": 1})
    retained, head, task = unmet(require, results(*STUDENT))
    assert retained.startswith("require.retained: nobody can tell")
    assert head.startswith("require.heads.512: nobody can tell")
    assert task == "require.tasks.c: it was not measured; the tasks are a, b"
    assert unmet(require, results()) == ("require: the student was not measured: add tasks to evaluate",)


def test_a_teacher_that_could_not_embed_some_texts_is_told() -> None:
    lacking = replace(TEACHER, failed={"a": 1200, "b": 1})
    (line,) = unmet(Requirements(retained=0.95), results(*STUDENT, lacking))
    assert "teacher minilm's 80.00, too low because it has no vector of 1,201 texts)" in line
