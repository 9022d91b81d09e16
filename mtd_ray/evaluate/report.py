"""Results as a table for the terminal, a Markdown report, JSON, and a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mtd_ray import layout
from mtd_ray.evaluate.plot import draw
from mtd_ray.evaluate.results import Results, Row

if TYPE_CHECKING:
    from mtd_ray.config import Recipe
    from mtd_ray.objects import ObjectStore

_NO_TASKS = "Nothing was evaluated: the recipe gives no evaluation pairs (evaluate.heldout, evaluate.pairs)."


def format_table(results: Results) -> str:
    """Aligned plain text: one line per model and size. Scores are nDCG@10, 0 to 100."""
    if not results.tasks:
        return _NO_TASKS
    lines = [_header(results), *(_cells(results, row) for row in results.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join((line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:]))) for line in lines]
    return "\n".join([text[0], "  ".join("─" * width for width in widths), *text[1:]])


def write_report(store: ObjectStore, recipe: Recipe, results: Results, folder: Path) -> None:
    """Write results.json, report.md and (when something was evaluated) scores.png into a folder, and upload them to the run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results.to_json(), indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(recipe, results), encoding="utf-8")
    if results.tasks:
        draw(results, folder / "scores.png")
    store.upload_folder(folder, layout.run_report(recipe.run_name))


def markdown(recipe: Recipe, results: Results) -> str:
    """The report's text: what came out, the table, and how to read it."""
    title = f"# {recipe.name}: what the student kept\n\nRun `{results.run}`."
    if not results.tasks:
        return f"{title}\n\n{_NO_TASKS}\n"
    header, *rows = _header(results), *(_cells(results, row) for row in results.rows)
    rule = ["---", *("---:" for _ in header[1:])]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))
    return "\n\n".join((title, _findings(results), table, _reading(results), "![score by vector size](scores.png)")) + "\n"


def _findings(results: Results) -> str:
    student, best, untrained = results.student, results.best_teacher, results.untrained
    if student is None:
        return ""
    lines = [f"The student at its default size {student.size} scores **{_percent(student.mean)}**."]
    if best is not None:
        lines.append(
            f"The best teacher, {best.name} ({best.size}), scores {_percent(best.mean)}: "
            f"{_share(results.retained(student))} of it is retained."
        )
    if untrained is not None:
        closed = results.gap_closed(student)
        gap = f": {_share(closed)} of the way to the best teacher" if closed is not None else ""
        lines.append(f"Before its first step it scored {_percent(untrained.mean)}{gap}.")
    return " ".join(lines)


def _reading(results: Results) -> str:
    return (
        "Scores are nDCG@10 from 0 to 100: for every query all passages of the task are ranked by cosine. Bytes are those of one "
        "float32 vector. *Retained* is the mean as a share of the best single teacher's; *gap closed* is the way from the "
        f"untrained student (0 %) to the best teacher (100 %). Tasks: {', '.join(results.tasks)}."
    )


def _header(results: Results) -> list[str]:
    mean = ["mean"] if len(results.tasks) > 1 else []
    return ["model", "size", "bytes", *results.tasks, *mean, "retained", "gap closed"]


def _cells(results: Results, row: Row) -> list[str]:
    is_default = row.role == "student" and row.size == results.export_head
    name = {"student": "student", "untrained": "student, untrained", "teacher": f"teacher {row.name}"}.get(row.role, row.name)
    mean = [_percent(row.mean)] if len(results.tasks) > 1 else []
    scores = [_percent(row.scores[task]) for task in results.tasks]
    derived = [_share(results.retained(row)), _share(results.gap_closed(row))]
    return [name + (" (default)" if is_default else ""), str(row.size), str(row.bytes_per_vector), *scores, *mean, *derived]


def _percent(score: float) -> str:
    return f"{100 * score:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
