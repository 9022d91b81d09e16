"""The client against a real sandbox provider over HTTP; only what that cannot produce is scripted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from mtd_ray.config import OpenAITeacher
from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_models import HashModel
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.teachers import AccountError, BadAnswer, TeacherError, TeacherUnavailable, open_teacher
from mtd_ray.teachers.api import ApiTeacherClient, request_caps
from mtd_ray.teachers.retry import RetryPolicy
from tests.unit.teachers.fake_time import FakeTime

SIZE = 32
OPENED = ExitStack()  # what a test opened is closed after it
TEXTS = [f"text number {number} about subject {number % 5}" for number in range(20)]


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with ProviderServer(env={"UNIT_KEY": "sk-unit"}) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UNIT_KEY", "sk-unit")
    server.set_faults()
    with OPENED:
        yield


def teacher(server: ProviderServer, **changes: Any) -> OpenAITeacher:
    fields = {"provider": "openai", "model": f"hash-{SIZE}", "base_url": server.base_url, "api_key": "env:UNIT_KEY"}
    return OpenAITeacher.model_validate(fields | {"dimensions": SIZE, "timeout_s": 5.0} | changes)


def opened(config: OpenAITeacher, policy: RetryPolicy | None = None, **replaced: Any) -> ApiTeacherClient:
    client = ApiTeacherClient("paid", config, policy=policy or FakeTime().policy(), **replaced)
    OPENED.callback(client.close)
    return client


def client(server: ProviderServer, **changes: Any) -> ApiTeacherClient:
    return opened(teacher(server, **changes))


def passages(texts: list[str]) -> Any:
    return texts, ["passage"] * len(texts)


def expected(texts: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return HashModel(SIZE).embed(texts)


def test_vectors_come_in_order_over_several_requests(server: ProviderServer) -> None:
    answer = client(server, max_inputs=6).embed(*passages(TEXTS))
    np.testing.assert_allclose(answer.vectors, expected(TEXTS), atol=1e-6)
    assert answer.vectors.dtype == np.float32
    assert answer.requests == 4
    assert answer.failures == {}
    assert answer.tokens > len(TEXTS)


def test_fewer_dimensions_are_asked_for(server: ProviderServer) -> None:
    answer = client(server, model="hash-64").embed(*passages(TEXTS))
    assert answer.vectors.shape == (len(TEXTS), SIZE)
    np.testing.assert_allclose(np.linalg.norm(answer.vectors, axis=1), 1.0, atol=1e-5)


def test_each_kind_gets_its_prompt(server: ProviderServer) -> None:
    answer = client(server, prompts={"query": "query: "}).embed(["one", "one"], ["query", "passage"])
    np.testing.assert_allclose(answer.vectors, expected(["query: one", "one"]), atol=1e-6)


def test_no_texts_need_no_request(server: ProviderServer) -> None:
    answer = client(server).embed([], [])
    assert answer.vectors.shape == (0, SIZE)
    assert answer.requests == 0


def test_the_bad_text_is_found_and_the_others_are_kept(server: ProviderServer) -> None:
    texts = TEXTS.copy()
    texts[13] = "word " * 9000  # over 8,192 tokens
    texts[4] = ""
    answer = client(server).embed(*passages(texts))
    assert sorted(answer.failures) == [4, 13]
    assert "maximum context length" in answer.failures[13]
    assert "empty" in answer.failures[4]
    good = [row for row in range(len(texts)) if row not in answer.failures]
    np.testing.assert_allclose(answer.vectors[good], expected([texts[row] for row in good]), atol=1e-6)
    assert not answer.vectors[[4, 13]].any()


def test_when_everything_is_refused_the_recipe_is_blamed_not_the_texts(server: ProviderServer) -> None:
    server.set_faults(Fault(kind="status", status=422, code="unprocessable"))
    with pytest.raises(TeacherError, match=r"not even 'test' \(HTTP 422.*check teachers\.paid"):
        client(server).embed(*passages(TEXTS))


def failing(kind: str, containing: str) -> Fault:
    more = {"status": 400, "code": "content_policy"} if kind == "status" else {}
    return Fault.model_validate({"kind": kind, "containing": containing} | more)


@pytest.mark.parametrize("kind", ["zero", "nan", "status"])
@pytest.mark.parametrize("rows", [1, 2, 20])
def test_texts_that_all_fail_are_recorded_when_a_harmless_one_does_not(server: ProviderServer, kind: str, rows: int) -> None:
    server.set_faults(failing(kind, "text number"))
    paid_before = server.ledger()["tokens"]
    stubborn = client(server)
    answer = stubborn.embed(*passages(TEXTS[:rows]))
    assert sorted(answer.failures) == list(range(rows))
    assert answer.tokens == server.ledger()["tokens"] - paid_before, "the harmless one is counted too"
    again = stubborn.embed(*passages(TEXTS[:1]))
    assert again.requests == (3 if kind == "nan" else 1), "it is asked for once"


def test_nothing_is_recorded_before_the_teacher_is_known_to_work(server: ProviderServer) -> None:
    server.set_faults(failing("status", ""))
    answers = client(server, max_inputs=1).answers(*passages(TEXTS), tick_s=10)
    with pytest.raises(BadAnswer):
        next(answers)


def test_reordered_answers_are_put_in_order(server: ProviderServer) -> None:
    server.set_faults(Fault(kind="reorder"))
    answer = client(server).embed(*passages(TEXTS))
    np.testing.assert_allclose(answer.vectors, expected(TEXTS), atol=1e-6)
    assert answer.requests == 1


@pytest.mark.parametrize("kind", ["wrong_count", "duplicate_index", "nan", "cut"])
def test_one_bad_answer_is_asked_again(server: ProviderServer, kind: Any) -> None:
    server.set_faults(Fault(kind=kind, at=(1,)))
    answer = client(server).embed(*passages(TEXTS))
    np.testing.assert_allclose(answer.vectors, expected(TEXTS), atol=1e-6)
    assert answer.requests == 2
    assert answer.failures == {}


def test_a_vector_size_that_is_not_the_recipes_is_bought_once(server: ProviderServer) -> None:
    server.set_faults(Fault(kind="wrong_size"))
    paid_before = server.ledger()["requests"]
    with pytest.raises(BadAnswer, match=rf"33 numbers.*teachers\.paid\.dimensions: {SIZE}"):
        client(server).embed(*passages(TEXTS))
    assert server.ledger()["requests"] == paid_before + 1


def test_a_vector_size_that_was_right_before_is_doubted_when_it_is_wrong(server: ProviderServer) -> None:
    asker = client(server)
    asker.embed(*passages(TEXTS))
    server.set_faults(Fault(kind="wrong_size", at=(1, 2)))
    answer = asker.embed(*passages(TEXTS))
    assert (answer.requests, answer.failures) == (3, {})
    np.testing.assert_allclose(answer.vectors, expected(TEXTS), atol=1e-6)
    server.set_faults(Fault(kind="wrong_size"))
    with pytest.raises(BadAnswer, match="33 numbers"):
        asker.embed(*passages(TEXTS))


@pytest.mark.parametrize("kind", ["wrong_count", "nan"])
def test_the_tokens_of_an_unusable_answer_are_counted(server: ProviderServer, kind: Any) -> None:
    paid_before = server.ledger()["tokens"]
    server.set_faults(Fault(kind=kind, at=(1,)))
    assert client(server).embed(*passages(TEXTS)).tokens == server.ledger()["tokens"] - paid_before


@pytest.mark.parametrize(
    ("quota", "caps"),
    [
        ({}, (2048, 300_000)),
        ({"tokens_per_minute": 1_000.0, "inputs_per_minute": 9.5}, (9, 1_000)),
        ({"tokens_per_minute": 1e9, "inputs_per_minute": 1e9}, (2048, 300_000)),
        ({"tokens_per_minute": 0.5, "inputs_per_minute": 0.5}, (1, 1)),
    ],
)
def test_a_request_stays_within_a_minute_of_the_quota(
    server: ProviderServer, quota: dict[str, float], caps: tuple[int, int]
) -> None:
    found = request_caps(teacher(server, quota=quota))
    assert (found["max_inputs"], found["max_request_tokens"]) == caps


def test_requests_are_cut_to_the_quota(server: ProviderServer) -> None:
    answer = client(server, quota={"inputs_per_minute": 5.0}).embed(*passages(TEXTS))
    assert answer.requests == 4
    np.testing.assert_allclose(answer.vectors, expected(TEXTS), atol=1e-6)


@pytest.mark.parametrize(("kind", "tells"), [("wrong_count", "19 vectors"), ("duplicate_index", "indices")])
def test_answers_that_stay_bad_are_never_taken(server: ProviderServer, kind: Any, tells: str) -> None:
    server.set_faults(Fault(kind=kind))
    with pytest.raises(BadAnswer, match=tells):
        client(server).embed(*passages(TEXTS))


def test_a_text_that_always_gives_nan_or_zero_becomes_a_failed_row(server: ProviderServer) -> None:
    for kind, reason in (("nan", "not finite"), ("zero", "all zeros")):
        server.set_faults(Fault.model_validate({"kind": kind, "containing": "number 7 "}))
        answer = client(server).embed(*passages(TEXTS))
        assert list(answer.failures) == [7]
        assert reason in answer.failures[7]
        assert np.isfinite(answer.vectors).all()


def test_nothing_but_nan_is_a_bad_answer(server: ProviderServer) -> None:
    server.set_faults(Fault(kind="nan", containing=""))
    with pytest.raises(BadAnswer, match="not finite"):
        client(server).embed(*passages(TEXTS))


def test_server_errors_pass_and_are_counted(server: ProviderServer) -> None:
    server.set_faults(Fault(kind="status", status=503, at=(1, 2)))
    assert client(server).embed(*passages(TEXTS)).requests == 3


def test_a_stalled_server_is_given_up(server: ProviderServer) -> None:
    server.set_faults(Fault(kind="stall", seconds=0.6))
    stalled = opened(teacher(server, timeout_s=0.1), FakeTime().policy(attempts=2))
    with pytest.raises(TeacherUnavailable, match="ReadTimeout"):
        stalled.embed(*passages(TEXTS))


def test_rate_limit_is_obeyed_until_there_is_room(server: ProviderServer) -> None:
    time = FakeTime()
    server.set_faults(Fault(kind="status", status=429, code="rate_limit_exceeded", at=(1, 2), retry_after=1.5))
    answer = opened(teacher(server), time.policy()).embed(*passages(TEXTS))
    assert (answer.requests, answer.rejected) == (3, 2)
    assert all(1.5 <= nap < 2 for nap in time.naps)


def test_a_wrong_key_is_an_account_error(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIT_KEY", "sk-wrong")
    refused = open_teacher("paid", teacher(server))
    OPENED.callback(refused.close)
    with pytest.raises(AccountError, match="env:UNIT_KEY") as caught:
        refused.embed(*passages(TEXTS))
    assert "sk-wrong" not in str(caught.value)


@pytest.mark.parametrize(("changes", "tells"), [({"model": "gpt-9"}, "gpt-9"), ({"dimensions": 33}, "recipe's dimensions")])
def test_a_wrong_recipe_is_a_teacher_error(server: ProviderServer, changes: dict[str, Any], tells: str) -> None:
    with pytest.raises(TeacherError, match=tells):
        client(server, **changes).embed(*passages(TEXTS))


def test_a_server_that_is_not_there() -> None:
    gone = OpenAITeacher(provider="openai", model="m", base_url="http://127.0.0.1:9/v1", api_key="env:UNIT_KEY", dimensions=3)
    with pytest.raises(TeacherUnavailable, match=r"127\.0\.0\.1:9"):
        opened(gone).embed(["a"], ["passage"])


def scripted(entries: list[Any], **extra: Any) -> ApiTeacherClient:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=orjson.dumps({"data": entries} | extra))

    config = OpenAITeacher(provider="openai", model="m", base_url="http://x.test/v1", api_key="env:UNIT_KEY", dimensions=2)
    return opened(config, transport=httpx.MockTransport(answer))


def test_plain_numbers_and_missing_usage_are_understood() -> None:
    answer = scripted([{"index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": [1, 2]}]).embed(*passages(["a", "b"]))
    np.testing.assert_array_equal(answer.vectors, [[1, 2], [3, 4]])
    assert answer.tokens == 2


@pytest.mark.parametrize(
    "entries",
    [
        [{"index": 0, "embedding": base64.b64encode(b"1234567").decode()}],
        [{"index": 0, "embedding": "not base64!"}],
        [{"index": 0, "embedding": None}],
        [{"index": 0}],
        [{"embedding": [1.0, 2.0]}],
        [{"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [[1.0, 2.0]]}],
        [{"index": 0, "embedding": []}],
        {"error": "none"},
        [],
    ],
)
def test_garbage_is_a_bad_answer(entries: list[Any]) -> None:
    with pytest.raises(BadAnswer):
        scripted(entries).embed(*passages(["a"]))
