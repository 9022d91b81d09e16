"""What is written, and where to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mtd_ray.config.evaluate import Requirements
from mtd_ray.evaluate.results import Results
from mtd_ray.objects import ObjectStore
from mtd_ray.report import ReportData, write_report
from tests.unit.report.fabricated import report, results

_RECIPE: Any = SimpleNamespace(run_name="demo-1234", require=Requirements())


def test_files_are_written_and_uploaded(tmp_path: Path, local_store: ObjectStore) -> None:
    write_report(local_store, _RECIPE, report(), tmp_path / "report")
    assert local_store.get("runs/demo-1234/report/index.html").startswith(b"<!DOCTYPE html>")
    assert local_store.get("runs/demo-1234/report/scores.png").startswith(b"\x89PNG")
    assert b"91.7 %" in local_store.get("runs/demo-1234/report/report.md")
    told = json.loads(local_store.get("runs/demo-1234/report/results.json"))
    assert Results.from_json(told["results"]) == results()
    assert told["curves"][0]["stage"] == "align"


def test_without_scores_there_is_no_picture(tmp_path: Path, local_store: ObjectStore) -> None:
    write_report(local_store, _RECIPE, ReportData("t", Results("r", (), 8, ())), tmp_path)
    assert "Nothing was evaluated" in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "scores.png").exists()
