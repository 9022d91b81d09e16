"""What is written, and where to."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mtd_ray.config.evaluate import Requirements
from mtd_ray.evaluate.results import MeasuredTask, Results, Row
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


def test_what_is_no_number_is_null_and_equal_labels_are_all_kept(tmp_path: Path, local_store: ObjectStore) -> None:
    rows = (Row("student", "student", 8, {"mine": math.nan}, "float32", {"mine": (math.nan, 1.0)}),)
    found = Results("r", (MeasuredTask("mine", "STS"),), 8, rows)
    write_report(local_store, _RECIPE, ReportData("t", found, facts=(("a", "one"), ("a", "two"))), tmp_path)
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text
    told = json.loads(text)
    assert (told["results"]["rows"][0]["scores"], told["facts"]) == ({"mine": None}, [["a", "one"], ["a", "two"]])
    assert "nan" not in (tmp_path / "report.md").read_text()
