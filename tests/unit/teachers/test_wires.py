"""Cohere's and Voyage's wire formats, as their documents give them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from mtd_ray.config import ApiTeacher, CohereTeacher, VoyageTeacher, teacher_fingerprint
from mtd_ray.teachers import AccountError, BadAnswer
from mtd_ray.teachers.api import ApiTeacherClient
from mtd_ray.teachers.batches import TokenEstimate
from tests.unit.teachers.fake_time import FakeTime

SIZE = 3
OPENED = ExitStack()  # what a test opened is closed after it
Reply = Callable[[dict[str, Any]], httpx.Response]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UNIT_KEY", "sk-unit")
    with OPENED:
        yield


def cohere(**changes: Any) -> CohereTeacher:
    fields = {"provider": "cohere", "model": "embed-v4.0", "api_key": "env:UNIT_KEY", "dimensions": SIZE}
    return CohereTeacher.model_validate(fields | changes)


def voyage(**changes: Any) -> VoyageTeacher:
    fields = {"provider": "voyage", "model": "voyage-4", "api_key": "env:UNIT_KEY", "dimensions": SIZE}
    return VoyageTeacher.model_validate(fields | changes)


class Asked:
    """A client whose requests are recorded and answered by a function."""

    def __init__(self, config: ApiTeacher, reply: Reply) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._reply = reply
        transport = httpx.MockTransport(self._answer)
        self.client = ApiTeacherClient("paid", config, policy=FakeTime().policy(), count=TokenEstimate(), transport=transport)
        OPENED.callback(self.client.close)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        self.requests.append((str(request.url), body))
        return self._reply(body)


def vector(text: str) -> list[float]:
    return [float(len(text)), 1.0, 2.0]


def encoded(text: str) -> str:
    return base64.b64encode(np.array(vector(text), "<f4").tobytes()).decode()


def cohere_answer(body: dict[str, Any]) -> httpx.Response:
    embeddings = {"base64": [encoded(text) for text in body["texts"]]}
    return httpx.Response(200, json={"embeddings": embeddings, "meta": {"billed_units": {"input_tokens": 7}}})


def voyage_answer(body: dict[str, Any]) -> httpx.Response:
    data = [{"index": index, "embedding": encoded(text)} for index, text in enumerate(body["input"])]
    return httpx.Response(200, json={"data": data[::-1], "usage": {"total_tokens": 5}})


def test_cohere_gets_what_it_asks_for_one_task_a_request() -> None:
    asked = Asked(cohere(), cohere_answer)
    answer = asked.client.embed(["one", "three", "fourty"], ["passage", "query", "passage"])
    asked.requests.sort(key=lambda request: request[1]["input_type"])
    assert [url for url, _ in asked.requests] == ["https://api.cohere.com/v2/embed"] * 2
    fixed = {"model": "embed-v4.0", "embedding_types": ["base64"], "truncate": "END", "output_dimension": SIZE}
    assert asked.requests[0][1] == fixed | {"texts": ["one", "fourty"], "input_type": "search_document"}
    assert asked.requests[1][1] == fixed | {"texts": ["three"], "input_type": "search_query"}
    assert answer.vectors.tolist() == [vector("one"), vector("three"), vector("fourty")]
    assert answer.tokens == 14


def test_voyage_gets_what_it_asks_for_and_is_put_in_order() -> None:
    asked = Asked(voyage(truncation=False), voyage_answer)
    answer = asked.client.embed(["one", "three", "fourty"], ["passage", "passage", "sentence"])
    asked.requests.sort(key=lambda request: request[1]["input_type"] is None)
    assert asked.requests[0][0] == "https://api.voyageai.com/v1/embeddings"
    fixed = {"model": "voyage-4", "truncation": False, "encoding_format": "base64", "output_dimension": SIZE}
    assert asked.requests[0][1] == fixed | {"input": ["one", "three"], "input_type": "document"}
    assert asked.requests[1][1] == fixed | {"input": ["fourty"], "input_type": None}
    assert answer.vectors.tolist() == [vector("one"), vector("three"), vector("fourty")]
    assert answer.tokens == 10


def test_cohere_never_gets_more_texts_than_it_takes() -> None:
    asked = Asked(cohere(), cohere_answer)
    asked.client.embed(["text"] * 200, ["passage"] * 200)
    assert sorted(len(body["texts"]) for _, body in asked.requests) == [8, 96, 96]


def test_cohere_may_answer_with_numbers() -> None:
    def reply(body: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"embeddings": {"float": [vector(text) for text in body["texts"]]}})

    assert Asked(cohere(), reply).client.embed(["one"], ["query"]).vectors.tolist() == [vector("one")]


@pytest.mark.parametrize("embeddings", [{}, {"base64": []}, {"base64": ["%%%"]}, {"float": [1.0]}, None])
def test_an_unusable_answer_of_cohere_is_never_taken(embeddings: Any) -> None:
    asked = Asked(cohere(), lambda body: httpx.Response(200, json={"embeddings": embeddings}))
    with pytest.raises(BadAnswer, match="teacher paid"):
        asked.client.embed(["one"], ["query"])


def refuse(message: dict[str, str], answer: Reply, key: str) -> Reply:
    def reply(body: dict[str, Any]) -> httpx.Response:
        return httpx.Response(400, json=message) if "bad" in body[key] else answer(body)

    return reply


@pytest.mark.parametrize(
    ("config", "reply"),
    [
        (cohere(), refuse({"message": "too long"}, cohere_answer, "texts")),
        (voyage(), refuse({"detail": "too long"}, voyage_answer, "input")),
    ],
)
def test_the_refused_text_is_found_and_told_in_the_providers_words(config: ApiTeacher, reply: Reply) -> None:
    answer = Asked(config, reply).client.embed(["one", "two", "bad", "four"], ["passage"] * 4)
    assert list(answer.failures) == [2]
    assert answer.failures[2].endswith("too long")
    assert answer.vectors[3].tolist() == vector("four")


def test_coheres_billing_cap_stops_the_run() -> None:
    asked = Asked(cohere(), lambda body: httpx.Response(402, json={"message": "monthly cap reached"}))
    with pytest.raises(AccountError, match="monthly cap reached"):
        asked.client.embed(["one"], ["query"])
    assert len(asked.requests) == 1


def test_the_task_and_truncation_decide_the_target_store() -> None:
    plain = teacher_fingerprint(cohere())
    types = {"query": "search_query", "passage": "classification", "sentence": "clustering"}
    assert len({plain, teacher_fingerprint(cohere(truncate="NONE")), teacher_fingerprint(cohere(input_types=types))}) == 3
    assert plain == teacher_fingerprint(cohere(timeout_s=5.0, api_key="env:OTHER_KEY"))
    assert teacher_fingerprint(voyage()) != teacher_fingerprint(voyage(truncation=False))


def test_cohere_needs_a_task_for_every_kind() -> None:
    with pytest.raises(ValueError, match="sentence has no task type"):
        cohere(input_types={"query": "search_query", "passage": "search_document"})
