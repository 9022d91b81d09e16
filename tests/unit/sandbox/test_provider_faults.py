"""What goes wrong on purpose, as clients of each wire format see it."""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import httpx
import numpy as np
import pytest

from mtd_ray.sandbox.provider_faults import Fault, FaultPlan, HintForm, wait_headers
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.teachers.hints import seconds_to_wait

CLIENT = httpx.Client(timeout=30)
KEY = "sandbox-key"
TEXTS = ["one text", "another", "a third"]
Ask = Callable[[ProviderServer], httpx.Response]


@pytest.fixture(scope="module")
def shared() -> Iterator[ProviderServer]:
    with ProviderServer(env={"PROVIDER_KEY": KEY}, seed=3) as server:
        yield server


@pytest.fixture
def server(shared: ProviderServer) -> Iterator[ProviderServer]:
    yield shared
    shared.set_faults()


def openai(server: ProviderServer, **changes: Any) -> httpx.Response:
    return _post(f"{server.base_url}/embeddings", {"model": "hash-8", "input": TEXTS, "encoding_format": "base64"} | changes)


def cohere(server: ProviderServer) -> httpx.Response:
    body = {"model": "hash-8", "texts": TEXTS, "input_type": "search_query", "embedding_types": ["base64"]}
    return _post(f"{server.cohere_url}/v2/embed", body)


def voyage(server: ProviderServer) -> httpx.Response:
    return _post(f"{server.voyage_url}/embeddings", {"model": "hash-8", "input": TEXTS, "encoding_format": "base64"})


def sent(answer: httpx.Response) -> list[Any]:
    """The vectors as they are on the wire."""
    body = answer.raise_for_status().json()
    return [item["embedding"] for item in body["data"]] if "data" in body else list(body["embeddings"]["base64"])


every_format = pytest.mark.parametrize("ask", [openai, cohere, voyage])


def test_faults_strike_by_number_by_text_and_by_seeded_chance() -> None:
    plan = FaultPlan([Fault(kind="nan", at=(2,)), Fault(kind="zero", containing="bad"), Fault(kind="status", every=5)])
    struck = [plan.pick(number, ["bad" if number == 3 else "good"]) for number in range(1, 6)]
    assert [fault and fault.kind for fault in struck] == [None, "nan", "zero", None, "status"]

    def drawn() -> list[bool]:
        by_chance = FaultPlan([Fault(kind="cut", share=0.3)], seed=4)
        return [by_chance.pick(number, ["x"]) is not None for number in range(1000)]

    assert 250 < sum(drawn()) < 350
    assert drawn() == drawn()


def test_a_storm_lasts_for_seconds_or_for_requests() -> None:
    now = 0.0
    plan = FaultPlan([Fault(kind="status", status=429, at=(2,), lasting_requests=2)], clock=lambda: now)
    assert [plan.pick(number, []) is not None for number in range(1, 6)] == [False, True, True, True, False]
    plan = FaultPlan([Fault(kind="reset", at=(1,), lasting_s=3)], clock=lambda: now)
    struck = []
    for number, now in enumerate((0.0, 1.0, 2.9, 3.0), start=1):  # noqa: B007 (the plan reads the clock)
        struck.append(plan.pick(number, []) is not None)
    assert struck == [True, True, True, False]


@pytest.mark.parametrize("form", get_args(HintForm))
def test_every_form_of_a_hint_is_what_clients_read(form: HintForm) -> None:
    now = time.time()
    wait = seconds_to_wait(wait_headers(20, form, now), datetime.fromtimestamp(now, UTC))
    assert wait == pytest.approx(20, abs=1)


def test_a_fault_shows_its_hint_even_where_the_quota_is_hidden() -> None:
    fault = Fault(kind="status", status=429, retry_after=3, retry_after_as="milliseconds")
    with ProviderServer(env={"PROVIDER_KEY": KEY}, rate_headers=False, faults=[fault]) as server:
        assert openai(server).headers["retry-after-ms"] == "3000"


@every_format
@pytest.mark.parametrize("status", [401, 402, 403, 408, 409, 429, 500, 502, 503, 529])
def test_errors_have_the_providers_body(server: ProviderServer, ask: Ask, status: int) -> None:
    server.set_faults(Fault(kind="status", status=status))
    paid = server.ledger(by_text=False)["usd"]
    answer = ask(server)
    assert answer.status_code == status
    if status == 502:
        assert answer.text.startswith("<html>")
    else:
        body = answer.json()
        assert set(body.get("error", {})) in ({"message", "type", "param", "code"}, set())
        assert body.get("error", {}).get("message") or body.get("message") or body.get("detail")
    assert server.ledger(by_text=False)["usd"] == paid


def test_out_of_money_is_not_a_rate_limit(server: ProviderServer) -> None:
    server.set_faults(
        Fault(kind="status", status=429, code="insufficient_quota", at=(1,)),
        Fault(kind="status", status=429, code="rate_limit_exceeded"),
    )
    first, second = (openai(server).json()["error"] for _ in range(2))
    assert (first["type"], first["code"]) == ("insufficient_quota", "insufficient_quota")
    assert (second["type"], second["code"]) == ("requests", "rate_limit_exceeded")


@every_format
def test_a_reset_connection_is_not_paid_and_a_cut_one_is(server: ProviderServer, ask: Ask) -> None:
    before = server.ledger(by_text=False)
    server.set_faults(Fault(kind="reset", at=(1,)), Fault(kind="cut", at=(2,)))
    with pytest.raises(httpx.ReadError, match="reset"):
        ask(server)
    after_reset = server.ledger(by_text=False)
    assert (after_reset["reset"] - before["reset"], after_reset["texts"] - before["texts"]) == (1, 0)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(server)
    assert server.ledger(by_text=False)["texts"] - before["texts"] == len(TEXTS)
    assert len(sent(ask(server))) == len(TEXTS)


@every_format
def test_a_connection_is_reset_in_the_middle_of_a_paid_answer(server: ProviderServer, ask: Ask) -> None:
    before = server.ledger(by_text=False)
    server.set_faults(Fault(kind="cut", by_reset=True, at=(1,)))
    with pytest.raises(httpx.ReadError, match="reset"):
        ask(server)
    after = server.ledger(by_text=False)
    assert (after["reset"] - before["reset"], after["texts"] - before["texts"]) == (0, len(TEXTS))
    assert len(sent(ask(server))) == len(TEXTS)


@every_format
def test_a_slow_answer_comes_in_pieces_and_whole(server: ProviderServer, ask: Ask) -> None:
    whole = sent(ask(server))
    server.set_faults(Fault(kind="slow", seconds=0.2))
    began = time.monotonic()
    assert sent(ask(server)) == whole
    assert time.monotonic() - began > 0.15


@every_format
def test_damaged_numbers(server: ProviderServer, ask: Ask) -> None:
    faults = [Fault(kind=kind, at=(at,)) for at, kind in enumerate(("nan", "null", "zero", "truncated", "wrong_size"), start=1)]  # type: ignore[arg-type]
    server.set_faults(*faults)
    nan, null, zero, truncated, wrong_size = (sent(ask(server)) for _ in faults)
    assert math.isnan(unpacked(nan[0])[0])
    assert np.isfinite(unpacked(nan[1])).all()
    assert null[0][0] is None
    assert None not in null[1]
    assert not unpacked(zero[0]).any()
    with pytest.raises(binascii.Error):
        unpacked(truncated[0])
    assert len(unpacked(truncated[1])) == 8
    assert len(unpacked(wrong_size[0])) == 9


@every_format
def test_the_text_chooses_what_is_damaged(server: ProviderServer, ask: Ask) -> None:
    server.set_faults(Fault(kind="nan", containing="third"))
    assert [bool(np.isnan(unpacked(vector)).any()) for vector in sent(ask(server))] == [False, False, True]


@pytest.mark.parametrize("ask", [openai, voyage])
def test_wrong_indices(server: ProviderServer, ask: Ask) -> None:
    right = sent(ask(server))
    server.set_faults(Fault(kind="reorder", at=(1,)), Fault(kind="duplicate_index", at=(2,)))
    backwards, twice = (ask(server).json()["data"] for _ in range(2))
    assert [item["index"] for item in backwards] == [2, 1, 0]
    assert [item["embedding"] for item in backwards] == right[::-1]
    assert [item["index"] for item in twice] == [0, 1, 0]


@every_format
def test_a_vector_too_few(server: ProviderServer, ask: Ask) -> None:
    server.set_faults(Fault(kind="wrong_count"))
    assert len(sent(ask(server))) == len(TEXTS) - 1


def unpacked(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(base64.b64decode(text), "<f4")


def _post(url: str, body: dict[str, Any]) -> httpx.Response:
    return CLIENT.post(url, json=body, headers={"authorization": f"Bearer {KEY}"})
