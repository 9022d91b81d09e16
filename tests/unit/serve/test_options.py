"""What a service may be made of, and how a wrong description is explained."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serve.options import Options, default_name


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("out/quickstart/student", "quickstart"),
        ("s3://bucket/team/runs/quickstart-1a2b/student/", "quickstart-1a2b"),
        ("s3://bucket/team/runs/quickstart-1a2b", "quickstart-1a2b"),
        ("/models/mine", "mine"),
        ("student", "student"),
    ],
)
def test_a_student_is_called_after_its_run_or_folder(place: str, name: str) -> None:
    assert default_name(place) == name


def test_the_short_form_is_one_model() -> None:
    options = Options.model_validate({"folder": "out/quickstart/student", "batch_tokens": "256"})  # `serve run` gives strings
    (model,) = options.served
    assert (model.called, model.batch_tokens, list(model.students())) == (
        "quickstart",
        256,
        [("quickstart", "out/quickstart/student")],
    )


def test_several_models_and_versions() -> None:
    versions = [{"name": "A", "folder": "/a", "share": 9}, {"name": "B", "folder": "/b"}]
    options = Options.model_validate({"models": [{"name": "student", "versions": versions}, {"folder": "s3://bucket/runs/small"}]})
    assert [list(model.students()) for model in options.served] == [
        [("student@A", "/a"), ("student@B", "/b")],
        [("small", "s3://bucket/runs/small")],
    ]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "give an exported student"),
        ({"folder": "/a", "models": [{"folder": "/b"}]}, "folder: belongs to one of the models"),
        ({"models": [{"name": "a"}]}, "either a folder, or versions"),
        ({"models": [{"name": "a", "folder": "/a", "versions": [{"name": "A", "folder": "/b"}]}]}, "either a folder, or versions"),
        ({"models": [{"versions": [{"name": "A", "folder": "/a"}]}]}, "needs a name"),
        ({"models": [{"folder": "/a/one"}, {"folder": "/b/one"}]}, "model 'one' is there twice"),
        (
            {"models": [{"name": "a", "versions": [{"name": "A", "folder": "/a"}, {"name": "A", "folder": "/b"}]}]},
            "version 'A' is there twice",
        ),
        ({"folder": "/a", "name": "a@b"}, "name"),
        ({"folder": "/a", "keys": "sk-secret"}, "by reference"),
        ({"folder": "/a", "limits": {"max_input": 1}}, "max_input"),
        ({"folder": "/a", "cache": 1}, "cache"),
    ],
)
def test_what_cannot_be_served_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Options.model_validate(given)
