"""What was measured, for readers of a card and for programs that read its front matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtd_ray.config import ExportDtype
from mtd_ray.evaluate.results import Results, Row
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.markdown import escaped, table
from mtd_ray.numbers import score, share


@dataclass(frozen=True)
class DataSource:
    """The public data behind a task: its name on the hub, and the task's main metric as mteb calls it."""

    path: str
    metric: str


def mteb_sources(names: set[str]) -> dict[str, DataSource]:
    """The public data of tasks that mteb knows; tasks that it does not know are left out."""
    import mteb

    found = [task.metadata for task in mteb.get_tasks(tasks=sorted(names))]
    return {data.name: DataSource(data.dataset["path"], data.main_score) for data in found if data.name in names}


def model_index(name: str, results: Results, scores: Mapping[str, TaskScore], sources: Mapping[str, DataSource]) -> list[Any]:
    """The front matter's ``model-index``, as the hub reads it: per task, split and subset, the main score from 0 to 100.

    Args:
        scores: of the student at its default size, by task.
        sources: the public data of tasks; others are named by themselves.
    """
    found = [
        entry
        for task in results.tasks
        if (score := scores.get(task.name)) is not None
        for entry in _entries(task.name, task.type, score, sources.get(task.name, DataSource(task.name, "main_score")))
    ]
    return [{"name": name, "results": found}] if found else []


def _entries(task: str, kind: str, score: TaskScore, source: DataSource) -> Iterator[dict[str, Any]]:
    for split, subsets in score.mteb.get("scores", {}).items():
        for subset in subsets:
            config = subset.get("hf_subset", "default")
            data = {"name": f"MTEB {task} ({config})", "type": source.path, "config": config, "split": split}
            if revision := score.mteb.get("dataset_revision"):
                data["revision"] = revision
            value = round(100 * subset["main_score"], 4)
            metric = {"type": source.metric, "value": value, "name": source.metric}
            yield {"task": {"type": kind, "name": kind}, "dataset": data, "metrics": [metric]}


def results_section(results: Results, dtype: ExportDtype = "float32") -> str:
    """Scores at the default size, task by task, beside those it is to be compared with; then by size, and by form.

    Args:
        dtype: of the weights that were measured; computed with was float32.
    """
    if results.student is None:
        return ""
    parts = ["## Results", _headline(results, dtype), _by_task(results, results.student), _by_size(results), _by_form(results)]
    return "\n\n".join(part for part in parts if part)


def _headline(results: Results, dtype: ExportDtype) -> str:
    student, best = results.student, results.best_teacher
    text = (
        f"Main scores of mteb's tasks, 0 to 100, at the default size {results.export_head}; of the weights as stored in {dtype}, "
        "computed in float32."
    )
    retained = results.retained(student) if student else None
    if best is not None and retained is not None:
        text += f" The student retains **{share(retained)}** of its best teacher, {escaped(best.name)}."
    return text


def _by_task(results: Results, student: Row) -> str:
    beside = [("before training", results.untrained), *((row.name, row) for row in results.teachers)]
    columns = [("student", student), *((label, row) for label, row in beside if row is not None)]
    rows = [(escaped(task.name), task.type, *(score(row.scores.get(task.name)) for _, row in columns)) for task in results.tasks]
    names = [task.name for task in results.tasks]
    rows.append(("**mean (task)**", "", *(score(row.mean_over(names)) for _, row in columns)))
    if len(results.types) > 1:
        rows.append(("**mean (type)**", "", *(score(results.mean_of_types(row)) for _, row in columns)))
    return table(("task", "type", *(escaped(label) for label, _ in columns)), rows)


def _by_size(results: Results) -> str:
    rows = [row for row in results.whole if row.role == "student"]
    tasks = results.common_tasks(rows)
    return f"Means over {_told(tasks, results)}:\n\n" + _compared(results, rows, tasks)


def _by_form(results: Results) -> str:
    """All forms at all sizes, over the tasks that every one of them was measured on; nothing where there is one form."""
    rows = [row for row in results.rows if row.role == "student"]
    tasks = results.common_tasks(rows)
    if not tasks or all(row.form == "float32" for row in rows):
        return ""
    return f"Vectors made smaller; means over {_told(tasks, results)}:\n\n" + _compared(results, rows, tasks)


def _told(tasks: Sequence[str], results: Results) -> str:
    return f"all {len(tasks)} tasks" if len(tasks) == len(results.tasks) > 1 else ", ".join(map(escaped, tasks))


def _compared(results: Results, rows: Sequence[Row], tasks: Sequence[str]) -> str:
    lines = [
        (
            str(row.size), row.form, f"{row.bytes_per_vector:,}", score(row.mean_over(tasks)),
            share(results.retained(row, tasks=tasks)),
        )
        for row in sorted(rows, key=lambda row: (-row.bytes_per_vector, row.form))
    ]  # fmt: skip
    return table(("size", "form", "bytes per vector", "mean", "share of the best teacher"), lines)
