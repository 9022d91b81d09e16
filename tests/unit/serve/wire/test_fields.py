"""Bodies of requests: what is understood, and what is refused with a word on what would be right."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from serve.wire.faults import ApiError
from serve.wire.fields import read
from serve.wire.openai import EmbeddingsRequest
from serve.wire.tei import EmbedRequest


def request(**fields: Any) -> EmbeddingsRequest:
    return read(EmbeddingsRequest, json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([5, 6], [[5, 6]]),
        ([[5], [6, 7]], [[5], [6, 7]]),
        (["one", [6, 7]], ["one", [6, 7]]),
        ([], []),
    ],
)
def test_every_form_of_input_becomes_rows(given: Any, rows: list[Any]) -> None:
    assert request(input=given).input == rows
    assert read(EmbedRequest, json.dumps({"inputs": given}).encode()).inputs == rows


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({}, "input", "required"),
        ({"input": ["one", 2]}, "input", "list of strings"),
        ({"input": {"text": "one"}}, "input", "list of strings"),
        ({"input": None}, "input", "list of strings"),
        ({"input": [-1]}, "input", "token ids"),
        ({"input": [True]}, "input", "token ids"),
        ({"input": [[1.5]]}, "input", "token ids"),
        ({"input": [10**40]}, "input", "token ids"),
        ({"input": "one", "dimensions": "16"}, "dimensions", "integer"),
        ({"input": "one", "dimensions": True}, "dimensions", "integer"),
        ({"input": "one", "encoding_format": "hex"}, "encoding_format", "base64"),
        ({"input": "one", "output_dtype": "int4"}, "output_dtype", "ubinary"),
        ({"input": "one", "user": {"name": "me"}}, "user", "string"),
        ({"input": "one", "normalise": True}, "normalise", "normalize"),
    ],
)
def test_a_faulty_field_is_named_and_explained(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(ApiError, match=said) as fault:
        request(**fields)
    assert (fault.value.status, fault.value.param) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff",
        b'"text"',
        b'{"input": "\\ud800"}',
        b'{"input": NaN}',
        b'{"input": "one"} more',
        b'{"input": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        b"[" * 100_000,
        b'{"input": "one", "dimensions": ' + b"9" * 5_000 + b"}",
        b'\xef\xbb\xbf{"input": "one"}',
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as fault:
        read(EmbeddingsRequest, body)
    assert fault.value.status == 400


@pytest.mark.parametrize("second", [b'"input" : "b"', b'"\\u0069nput":"b"', b'"input"\n:["\\":"]'])
def test_a_field_given_twice_is_refused_as_either_could_be_meant(second: bytes) -> None:
    with pytest.raises(ApiError, match="twice"):
        read(EmbeddingsRequest, b'{"input": "a", ' + second + b"}")


@pytest.mark.parametrize("text", ['":', '\\":', '{"input": "b"}', '"input":"', 'a\\\\" : b', "::"])
def test_a_text_that_looks_like_a_field_is_a_text(text: str) -> None:
    assert request(input=[text, text], user=text).input == [text, text]


def test_null_is_the_same_as_leaving_a_field_out() -> None:
    optional = {name: None for name in EmbeddingsRequest.model_fields if name != "input"}
    assert request(input="one", **optional) == request(input="one")


@pytest.mark.parametrize(
    "body",
    [
        b'{"input": [' + b"null," * 1_500_000 + b"null]}",
        b"{" + b",".join(b'"a%d":1' % number for number in range(400_000)) + b"}",
        b'{"input": "a", "' + b"k" * 7_000_000 + b'": 1}',
        b'{"input": "a", "encoding_format": "' + b"k" * 7_000_000 + b'"}',
    ],
    ids=["elements", "fields", "name", "value"],
)
def test_a_long_faulty_body_costs_little_and_is_not_sent_back(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ApiError) as fault:
        read(EmbeddingsRequest, body)
    assert time.process_time() - started < 2
    assert len(fault.value.body) < 1_000
