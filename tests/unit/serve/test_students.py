"""Students are loaded as the options say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtd_ray.errors import MtdError
from serve.options import Options
from serve.students import load_students


def options(**model: Any) -> Options:
    return Options.model_validate({"models": [{"name": "student", "device": "cpu", **model}]})


def test_versions_have_one_name_and_a_key_each(exported: Path) -> None:
    versions = [{"name": name, "folder": str(exported)} for name in "AB"]
    students = load_students(options(versions=versions))
    assert {key: student.name for key, student in students.items()} == {"student@A": "student", "student@B": "student"}


def test_a_prompt_can_stand_for_an_input_type(exported: Path) -> None:
    (student,) = load_students(options(folder=str(exported), input_types={"document": "query"})).values()
    assert student.prompts["document"] == student.prompts["query"] == "find the "


def test_a_prompt_that_the_student_lacks_is_told(exported: Path) -> None:
    with pytest.raises(MtdError, match="has no prompt 'passage'; its prompts: query"):
        load_students(options(folder=str(exported), input_types={"document": "passage"}))
