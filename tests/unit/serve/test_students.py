"""Students are loaded as the options say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mtd_ray.errors import MtdError
from serve.options import Options
from serve.students import contents_of, load_students
from tests.tiny_export import tiny_export


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


def test_a_student_that_was_replaced_is_not_served_beside_the_first(tmp_path: Path) -> None:
    place = str(tiny_export(tmp_path / "tiny", tmp_path / "bert"))
    deployed = contents_of(options(folder=place))
    assert load_students(options(folder=place), contents=deployed).keys() == {"student"}
    shutil.rmtree(place)
    tiny_export(Path(place), tmp_path / "other-bert", seed=5)
    with pytest.raises(MtdError, match=f"{place} holds another student than when the service was deployed"):
        load_students(options(folder=place), contents=deployed)


def test_what_cannot_be_read_where_it_is_deployed_is_not_pinned(tmp_path: Path) -> None:
    assert contents_of(options(folder=str(tmp_path / "only-on-replicas"))) == {}


def test_a_replica_that_asked_for_no_gpu_computes_on_the_cpu(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees its machine's GPUs all the same."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    (student,) = load_students(Options(folder=str(exported)), default_device="cpu").values()
    assert student.embed(student.tokenize(["sum"]), [None])[0].shape == (student.default_size,)
