"""Which prompt a text gets: what was chosen, then the narrowest that the model has."""

from __future__ import annotations

import pytest

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.base import Asked
from mtd_ray.evaluate.models.prompts import kind_of, prompt_of

QUERY, DOCUMENT = Asked("SciFact", "Retrieval", "query"), Asked("SciFact", "Retrieval", "document")
ALIKE = Asked("STSBenchmark", "STS", None)
STELLA = {"s2p_query": "p: ", "s2s_query": "s: "}


def test_published_stella_prompts() -> None:
    assert [prompt_of(STELLA, {}, asked) for asked in (QUERY, DOCUMENT, ALIKE)] == ["p: ", "", "s: "]


def test_prompts_named_like_the_kinds_of_a_corpus() -> None:
    prompts = {"query": "q: ", "passage": "d: ", "sentence": "x: "}
    assert [prompt_of(prompts, {}, asked) for asked in (QUERY, DOCUMENT, ALIKE)] == ["q: ", "d: ", "x: "]


def test_a_model_without_prompts_gets_none_and_a_default_where_it_has_one() -> None:
    assert prompt_of({}, {}, QUERY) == ""
    assert prompt_of({}, {}, QUERY, default="all: ") == "all: "


@pytest.mark.parametrize("left", range(5))
def test_the_narrowest_choice_counts(left: int) -> None:
    keys = ["SciFact-query", "SciFact", "Retrieval-query", "Retrieval", "query"][left:]
    prompts = {f"named {key}": f"{key}: " for key in keys}
    assert prompt_of(prompts, {key: f"named {key}" for key in keys}, QUERY) == f"{keys[0]}: "


def test_a_choice_stands_before_the_models_own_names_and_may_be_none() -> None:
    prompts = STELLA | {"STS": "sts: "}
    assert prompt_of(prompts, {}, ALIKE) == "sts: "
    assert prompt_of(prompts, {"STS": "s2p_query"}, ALIKE) == "p: "
    assert prompt_of(prompts, {"STS": ""}, ALIKE) == ""
    assert prompt_of(prompts, {"Clustering": "s2p_query"}, ALIKE) == "sts: "


def test_a_prompt_that_the_model_does_not_have() -> None:
    with pytest.raises(
        EvaluationError, match=r"evaluate\.prompts\.STS: the model has no prompt 'nope'; it has s2p_query, s2s_query"
    ):
        prompt_of(STELLA, {"STS": "nope"}, ALIKE)


def test_kinds_of_texts() -> None:
    assert [kind_of(asked) for asked in (QUERY, DOCUMENT, ALIKE)] == ["query", "passage", "sentence"]
