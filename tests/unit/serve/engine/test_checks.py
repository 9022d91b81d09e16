"""What is refused before anything is computed, and how texts are read."""

from __future__ import annotations

from typing import Any

import pytest

from serve.engine.checks import Checks
from serve.engine.limits import Limits
from serve.engine.model import ServedModel
from serve.engine.question import Question
from serve.wire.faults import ApiError
from tests.tiny_export import DEFAULT_HEAD, HEADS, MAX_TOKENS


@pytest.fixture
def checks(tiny: ServedModel) -> Checks:
    return Checks({"tiny": tiny}, Limits(max_request_tokens=500))


def ids(checks: Checks, rows: list[Any], **more: Any) -> list[list[int]]:
    question = Question(more.pop("model", None), rows, more.pop("size", None), **more)
    return checks.ids(question, checks.target(question))


def refused(checks: Checks, rows: list[Any], **more: Any) -> ApiError:
    with pytest.raises(ApiError) as fault:
        ids(checks, rows, **more)
    return fault.value


def test_texts_are_read_as_the_model_reads_them(checks: Checks) -> None:
    assert len(ids(checks, ["sort the list"])[0]) == 5  # [CLS] sort the list [SEP]
    assert len(ids(checks, ["list"], prompt_name="query")[0]) == 5
    assert len(ids(checks, ["list " * 100], truncate=True)[0]) == MAX_TOKENS


def test_token_ids_stand_for_their_text_and_may_stand_beside_texts(checks: Checks) -> None:
    (whole,) = ids(checks, ["sort the list"])
    assert ids(checks, [whole[1:-1], "sort the list", whole]) == [whole, whole, whole]
    assert "vocabulary" in refused(checks, [[100_000]]).message


def test_queries_get_the_prompt_for_queries_and_documents_none_where_there_is_none(checks: Checks) -> None:
    assert ids(checks, ["list"], input_type="query") == ids(checks, ["list"], prompt_name="query")
    assert ids(checks, ["list"], input_type="document") == ids(checks, ["list"])
    assert "query" in refused(checks, ["list"], prompt_name="passage").message
    assert refused(checks, ["list"], prompt_name="query", input_type="query").param == "prompt_name"


def test_an_unknown_size_is_answered_with_the_known_ones(checks: Checks) -> None:
    fault = refused(checks, ["sum"], size=17)
    assert fault.param == "dimensions"
    assert all(str(size) in fault.message for size in HEADS)
    assert checks.target(Question(None, ["sum"], None)).size == DEFAULT_HEAD


def test_a_long_text_is_refused_by_number(checks: Checks) -> None:
    fault = refused(checks, ["sum", "list " * 100])
    assert "input 1 has 102 tokens" in fault.message
    assert fault.code == "context_length_exceeded"
    assert f"more than {MAX_TOKENS} tokens" in refused(checks, ["list " * 10_000]).message
    assert str(MAX_TOKENS) in fault.message


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([""], "input 0"),
        (["sum", ""], "input 1"),
        ([[]], "input 0"),
        ([], "is empty"),
        (["a"] * 2049, "2049"),
        (["sort the list"] * 101, "505"),
    ],
)
def test_empty_and_endless_inputs_are_refused(checks: Checks, rows: list[Any], said: str) -> None:
    assert said in refused(checks, rows).message


def test_another_model_is_not_found(checks: Checks) -> None:
    fault = refused(checks, ["sum"], model="text-embedding-3-small")
    assert (fault.status, fault.code) == (404, "model_not_found")
    assert "'tiny'" in fault.message


def test_of_several_versions_the_chooser_takes_one_unless_a_client_names_it(tiny: ServedModel) -> None:
    versions = Checks({"a": tiny, "b": tiny}, Limits(), lambda name, flow: "b" if flow == "new" else "a")
    assert versions.target(Question("tiny", ["sum"], None, flow="new")).key == "b"
    assert versions.target(Question(None, ["sum"], None, flow="old")).key == "a"
    assert versions.target(Question("b", ["sum"], None, flow="old")).key == "b"
