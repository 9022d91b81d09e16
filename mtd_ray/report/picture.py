"""The picture of a run for a README or a card: score by vector size, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mtd_ray.evaluate.results import Results, Row

_INK, _GREY, _STUDENT = "#222222", "#8a8a8a", "#0b6fa4"
_TEACHERS = ("#d1495b", "#e08e45", "#6a994e", "#7d5ba6", "#4d908e")
_LOOKS: dict[str, dict[str, Any]] = {
    "teacher": {"marker": "s"},
    "concatenated": {"marker": "D", "color": _INK},
    "untrained": {"marker": "o", "color": _GREY, "markerfacecolor": "white", "markeredgewidth": 1.6},
}


def draw(results: Results, path: Path) -> None:
    """Write a PNG: the student as a line over its sizes, every other model as a labelled point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_student(axes, [row for row in results.whole if row.role == "student"])
    colors = iter(_TEACHERS * (1 + len(results.whole) // len(_TEACHERS)))
    for row in results.whole:
        if row.role != "student":
            look = _LOOKS.get(row.role, {"marker": "^", "color": _GREY})
            _draw_point(axes, row, {"color": next(colors)} | look if row.role == "teacher" else look)
    _draw_best_teacher(axes, results)
    _dress(axes, results)
    figure.savefig(path)


def _draw_student(axes: Any, rows: list[Row]) -> None:
    rows = sorted(rows, key=lambda row: row.size)
    sizes, scores = [row.size for row in rows], [100 * row.mean for row in rows]
    axes.plot(sizes, scores, color=_STUDENT, marker="o", linewidth=2.2, markersize=7, zorder=4, label="student")
    for size, score in zip(sizes, scores, strict=True):
        axes.annotate(f"{score:.1f}", (size, score), (0, 9), textcoords="offset points", ha="center", color=_STUDENT, zorder=5)


def _draw_point(axes: Any, row: Row, look: dict[str, Any]) -> None:
    name = {"teacher": f"teacher {row.name}", "untrained": "student, untrained"}.get(row.role, row.name)
    score = 100 * row.mean
    axes.plot([row.size], [score], linestyle="none", markersize=8, zorder=3, label=f"{name} ({row.size}): {score:.1f}", **look)


def _draw_best_teacher(axes: Any, results: Results) -> None:
    if best := results.best_teacher:
        axes.axhline(100 * best.mean, color=_GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1, label="best teacher")


def _dress(axes: Any, results: Results) -> None:
    sizes = sorted({row.size for row in results.whole})
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
    axes.set_xticks(_apart(sizes), [str(size) for size in _apart(sizes)])
    axes.minorticks_off()
    axes.margins(y=0.14)
    axes.set_xlabel("vector size (numbers per vector)")
    axes.set_ylabel(
        f"mean score of {len(results.tasks)} tasks, 0 to 100" if len(results.tasks) > 1 else "score, 0 to 100", labelpad=8
    )
    axes.set_title("Score by vector size", loc="left", color=_INK, fontweight="bold")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _apart(sizes: list[int]) -> list[int]:
    """Sizes whose labels do not overlap on the logarithmic axis: each at least a fifth larger than the last one kept."""
    kept: list[int] = []
    for size in sizes:
        if not kept or size >= 1.2 * kept[-1]:
            kept.append(size)
    return kept
