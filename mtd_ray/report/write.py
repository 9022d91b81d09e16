"""The report's files, beside the student they are about."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtd_ray import layout
from mtd_ray.report.data import ReportData
from mtd_ray.report.html import page
from mtd_ray.report.markdown import markdown
from mtd_ray.report.picture import draw
from mtd_ray.report.sections import sections

if TYPE_CHECKING:
    from mtd_ray.config import Recipe
    from mtd_ray.objects import ObjectStore


def write_report(store: ObjectStore, recipe: Recipe, data: ReportData, folder: Path) -> None:
    """Write index.html, report.md, results.json and (when something was evaluated) scores.png, and upload the folder to the run."""
    folder.mkdir(parents=True, exist_ok=True)
    told, subtitle = sections(data, recipe.require), f"Run {data.results.run}"
    (folder / "index.html").write_text(page(data.title, subtitle, told), encoding="utf-8")
    (folder / "report.md").write_text(markdown(data.title, subtitle, told), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(_known(data.to_json()), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if data.results.student is not None:
        draw(data.results, folder / "scores.png")
    store.upload_folder(folder, layout.run_report(recipe.run_name))


def _known(value: Any) -> Any:
    """The same with null for what is no number: JSON has no NaN, and readers in other languages refuse it."""
    if isinstance(value, dict):
        return {key: _known(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_known(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
