"""What the rows say, the table, the report and the picture."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtd_ray.errors import TrainingError
from mtd_ray.evaluate import Results, Row, assert_student_improved, format_table, write_report
from mtd_ray.objects import ObjectStore

RECIPE: Any = SimpleNamespace(name="demo", run_name="demo-1234")


def results(student: float = 0.7) -> Results:
    rows = (
        Row("student", "student", 256, {"heldout": 0.6, "mine": 0.62}),
        Row("student", "student", 1024, {"heldout": student, "mine": student}),
        Row("untrained", "untrained", 1024, {"heldout": 0.4, "mine": 0.4}),
        Row("teacher", "minilm", 384, {"heldout": 0.78, "mine": 0.82}),
        Row("teacher", "words", 256, {"heldout": 0.5, "mine": 0.5}),
        Row("concatenated", "all teachers, concatenated", 640, {"heldout": 0.81, "mine": 0.83}),
    )
    return Results("demo-1234", ("heldout", "mine"), 1024, rows)


def test_retained_and_gap() -> None:
    found = results()
    student, best = found.student, found.best_teacher
    assert student is not None
    assert best is not None
    assert (student.size, best.name) == (1024, "minilm")
    assert found.retained(student) == pytest.approx(0.7 / 0.8)
    assert found.gap_closed(student) == pytest.approx(0.3 / 0.4)
    assert best.bytes_per_vector == 1536


def test_json_round_trip() -> None:
    assert Results.from_json(json.loads(json.dumps(results().to_json()))) == results()


def test_no_teachers_no_shares() -> None:
    alone = Results("r", ("t",), 8, (Row("student", "student", 8, {"t": 0.5}), Row("untrained", "untrained", 8, {"t": 0.1})))
    assert alone.student is not None
    assert alone.retained(alone.student) is None
    assert alone.gap_closed(alone.student) is None
    assert "–" in format_table(alone)


def test_improved_student_passes() -> None:
    assert_student_improved(results())


@pytest.mark.parametrize("student", [0.4, 0.39])
def test_student_that_learned_nothing_is_an_error_with_both_numbers(student: float) -> None:
    with pytest.raises(TrainingError, match=rf"scores {100 * student:.2f}, before its first step it scored 40\.00"):
        assert_student_improved(results(student))


def test_table_has_one_line_per_model_and_size() -> None:
    lines = format_table(results()).splitlines()
    assert lines[0].split() == ["model", "size", "bytes", "heldout", "mine", "mean", "retained", "gap", "closed"]
    assert len(lines) == 2 + 6
    assert len({len(line) for line in lines}) == 1
    default = next(line for line in lines if "(default)" in line)
    assert default.split()[2:] == ["1024", "4096", "70.00", "70.00", "70.00", "87.5", "%", "75.0", "%"]
    assert next(line for line in lines if "untrained" in line).endswith("0.0 %")


def test_one_task_needs_no_mean() -> None:
    one = Results("r", ("t",), 8, (Row("student", "student", 8, {"t": 0.5}),))
    assert "mean" not in format_table(one).splitlines()[0]


def test_report_files_are_written_and_uploaded(tmp_path: Path, local_store: ObjectStore) -> None:
    write_report(local_store, RECIPE, results(), tmp_path / "report")
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "scores **70.00**" in markdown
    assert "minilm (384), scores 80.00: 87.5 % of it is retained" in markdown
    assert "scored 40.00: 75.0 % of the way" in markdown
    assert "| teacher minilm | 384 | 1536 | 78.00 | 82.00 | 80.00 | 100.0 % | 100.0 % |" in markdown
    assert json.loads(local_store.get("runs/demo-1234/report/results.json"))["rows"][1]["retained"] == pytest.approx(0.875)
    assert local_store.get("runs/demo-1234/report/scores.png").startswith(b"\x89PNG")


def test_nothing_to_evaluate_is_said(tmp_path: Path, local_store: ObjectStore) -> None:
    nothing = Results("demo-1234", (), 8, ())
    assert_student_improved(nothing)
    assert "Nothing was evaluated" in format_table(nothing)
    write_report(local_store, RECIPE, nothing, tmp_path)
    assert "Nothing was evaluated" in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "scores.png").exists()
