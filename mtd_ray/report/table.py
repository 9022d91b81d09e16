"""Results as a table for the terminal."""

from __future__ import annotations

from mtd_ray.evaluate.results import Results, Row
from mtd_ray.numbers import score, share
from mtd_ray.report import naming

_MOST_LETTERS = 72
NOTHING = (
    "Nothing was evaluated: the recipe names no tasks and no evaluation pairs (evaluate.tasks, benchmarks, own, heldout, pairs)."
)


def format_table(results: Results) -> str:
    """Aligned plain text: one line per model and size, as the models give their vectors. Scores are from 0 to 100.

    A column per task; where that would be too wide for a terminal, a column per type of task with the mean over its tasks.
    """
    if not results.rows:
        return NOTHING
    columns = _columns(results)
    lines = [_header(results, columns), *(_cells(results, columns, row) for row in results.whole)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join((line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:]))) for line in lines]
    return "\n".join([text[0], "  ".join("─" * width for width in widths), *text[1:]])


def _columns(results: Results) -> dict[str, tuple[str, ...]]:
    """Title → tasks whose mean it shows."""
    short = sum(len(task.name) for task in results.tasks) <= _MOST_LETTERS
    return {task.name: (task.name,) for task in results.tasks} if short else results.types


def _header(results: Results, columns: dict[str, tuple[str, ...]]) -> list[str]:
    means = ["Mean(Task)"] if len(results.tasks) > 1 else []
    means += ["Mean(TaskType)"] if len(results.types) > 1 else []
    return ["model", "size", "bytes", *columns, *means, "retained", "gap closed"]


def _cells(results: Results, columns: dict[str, tuple[str, ...]], row: Row) -> list[str]:
    means = [score(row.mean)] if len(results.tasks) > 1 else []
    means += [score(results.mean_of_types(row))] if len(results.types) > 1 else []
    scores = [score(row.mean_over(tasks)) for tasks in columns.values()]
    derived = [share(results.retained(row)), share(results.gap_closed(row))]
    return [naming.full(results, row), str(row.size), str(row.bytes_per_vector), *scores, *means, *derived]
