"""The table that a job prints."""

from __future__ import annotations

from mtd_ray.evaluate.results import MeasuredTask, Results, Row
from mtd_ray.report import format_table


def results() -> Results:
    rows = (
        Row("student", "student", 256, {"heldout": 0.6, "mine": 0.62}),
        Row("student", "student", 1024, {"heldout": 0.7, "mine": 0.7}),
        Row("student", "student", 1024, {"heldout": 0.69}, "int8"),
        Row("untrained", "untrained", 1024, {"heldout": 0.4, "mine": 0.4}),
        Row("teacher", "minilm", 384, {"heldout": 0.78, "mine": 0.82}),
    )
    return Results("demo-1234", (MeasuredTask("heldout", "Retrieval"), MeasuredTask("mine", "Retrieval")), 1024, rows)


def test_one_line_per_model_and_size() -> None:
    lines = format_table(results()).splitlines()
    assert lines[0].split() == ["model", "size", "bytes", "heldout", "mine", "Mean(Task)", "retained", "gap", "closed"]
    assert len(lines) == 2 + 4
    assert len({len(line) for line in lines}) == 1
    default = next(line for line in lines if "(default)" in line)
    assert default.split()[2:] == ["1024", "4096", "70.00", "70.00", "70.00", "87.5", "%", "75.0", "%"]
    assert next(line for line in lines if "untrained" in line).endswith("0.0 %")


def test_one_task_needs_no_mean() -> None:
    one = Results("r", (MeasuredTask("t", "STS"),), 8, (Row("student", "student", 8, {"t": 0.5}),))
    assert "Mean" not in format_table(one)
    assert "–" in format_table(one)


def test_many_tasks_are_shown_by_type() -> None:
    tasks = tuple(MeasuredTask(f"ATaskWithALongName{index}", "STS" if index % 2 else "Retrieval") for index in range(9))
    row = Row("student", "student", 8, {task.name: 0.5 for task in tasks})
    header = format_table(Results("r", tasks, 8, (row,))).splitlines()[0]
    assert header.split()[3:7] == ["Retrieval", "STS", "Mean(Task)", "Mean(TaskType)"]


def test_nothing_to_evaluate_is_said() -> None:
    assert "Nothing was evaluated" in format_table(Results("r", (), 8, ()))
