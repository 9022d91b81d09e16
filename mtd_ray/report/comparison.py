"""A comparison of two models as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from mtd_ray.evaluate.statistics.compare import ComparedSizes, ComparedTask, Comparison
from mtd_ray.harvest.table import aligned
from mtd_ray.numbers import NONE, score

_READING = (
    "Scores are from 0 to 100. Difference: B less A, with its 95 % interval (paired bootstrap over queries, pairs, experiments or "
    "sets);\np: how often chance alone makes so large a difference (paired permutation test)."
)


def format_comparison(comparison: Comparison) -> str:
    """One table per pair of sizes: the default sizes first, then those that both models have."""
    tables = [_table(sizes) for sizes in comparison.sizes]
    return "\n\n".join((f"A: {comparison.first}\nB: {comparison.second}", *tables, _READING))


def _table(sizes: ComparedSizes) -> str:
    header = ["task", f"A ({sizes.first})", f"B ({sizes.second})", "difference", "95 % interval", "p"]
    rows = [_row(task) for task in (*sizes.tasks, *([sizes.mean] if sizes.mean is not None else []))]
    return "\n".join((*aligned([header, *rows]), *_verdict(sizes)))


def _row(task: ComparedTask) -> list[str]:
    found = task.difference
    interval = NONE if found.low is None or found.high is None else f"{_signed(found.low)} to {_signed(found.high)}"
    return [task.task, score(task.first), score(task.second), _signed(found.delta), interval, _chance(found.p)]


def _verdict(sizes: ComparedSizes) -> Iterator[str]:
    if all(task.difference.p is None for task in sizes.tasks):
        return
    for who, sign in (("A", -1), ("B", 1)):
        better = [task.task for task in sizes.significant if sign * task.difference.delta > 0]
        if better:
            yield f"{who} is better on {', '.join(better)}: beyond chance at 5 % over all tasks of the table (Holm)"
    if not sizes.significant:
        yield "On no task is the difference beyond chance at 5 % over all tasks of the table (Holm)"


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}"


def _chance(p: float | None) -> str:
    if p is None:
        return NONE
    return f"{p:.4f}" if p >= 0.001 else "< 0.001"
