"""Faults as clients see them."""

from __future__ import annotations

import json

import pytest

from serve.wire.faults import ApiError, quoted


@pytest.mark.parametrize(
    ("status", "kind", "tei_status", "tei_kind"),
    [
        (400, "invalid_request_error", 413, "Validation"),
        (429, "rate_limit_error", 429, "Overloaded"),
        (500, "server_error", 424, "Backend"),
        (503, "server_error", 503, "Unhealthy"),
        (504, "server_error", 504, "Backend"),
    ],
)
def test_each_api_tells_a_fault_in_its_own_words(status: int, kind: str, tei_status: int, tei_kind: str) -> None:
    fault = ApiError("why", status=status, param="input", code="name")
    assert json.loads(fault.body) == {"error": {"message": "why", "type": kind, "param": "input", "code": "name"}}
    assert json.loads(fault.tei_body) == {"error": "why", "error_type": tei_kind}
    assert fault.tei_status == tei_status


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [("empty_input", 400, "Empty"), ("foreign_token_ids", 422, "Tokenizer"), ("unknown_parameter", 422, "Validation")],
)
def test_text_embeddings_inference_has_statuses_for_what_is_wrong(code: str, status: int, kind: str) -> None:
    fault = ApiError("why", code=code)
    assert (fault.tei_status, json.loads(fault.tei_body)["error_type"]) == (status, kind)


def test_what_would_fail_again_is_not_asked_again() -> None:
    assert ApiError("late", status=504, final=True).headers == [(b"x-should-retry", b"false")]


def test_the_time_to_come_back_is_told_in_whole_seconds_and_in_milliseconds() -> None:
    assert dict(ApiError("full", status=429, retry_after_s=1.2).headers) == {b"retry-after": b"2", b"retry-after-ms": b"1200"}
    assert dict(ApiError("full", status=429, retry_after_s=0.0).headers) == {b"retry-after": b"1", b"retry-after-ms": b"1"}
    assert ApiError("wrong").headers == []


def test_what_a_client_sent_is_repeated_briefly_and_always_sendable() -> None:
    assert quoted("other") == "'other'"
    assert len(quoted("x" * 10_000_000)) < 100
    assert json.loads(ApiError(f"no model {quoted(chr(0xD800))} \ud800").body)
