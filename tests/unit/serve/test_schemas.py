"""The wire formats, without a model."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from serve.schemas import ApiError, EmbeddingsRequest, embeddings_body


def request(**fields: Any) -> EmbeddingsRequest:
    return EmbeddingsRequest.parse(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([5, 6], [[5, 6]]),
        ([[5], [6, 7]], [[5], [6, 7]]),
        ([], []),
    ],
)
def test_every_form_of_input_becomes_rows(given: Any, rows: list[Any]) -> None:
    assert request(input=given).rows == rows


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({}, "input", "required"),
        ({"input": ["one", 2]}, "input", "list of strings"),
        ({"input": {"text": "one"}}, "input", "list of strings"),
        ({"input": [-1]}, "input", "token ids"),
        ({"input": [True]}, "input", "token ids"),
        ({"input": "one", "dimensions": "16"}, "dimensions", "integer"),
        ({"input": "one", "encoding_format": "hex"}, "encoding_format", "base64"),
        ({"input": "one", "normalise": True}, "normalise", "normalize"),
    ],
)
def test_a_faulty_field_is_named_and_explained(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(ApiError) as fault:
        request(**fields)
    body = json.loads(fault.value.body)["error"]
    assert fault.value.status == 400
    assert body["type"] == "invalid_request_error"
    assert body["param"] == param
    assert said in body["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'"text"', b'{"input": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError):
        EmbeddingsRequest.parse(body)


def test_numbers_and_base64_carry_the_same_vectors() -> None:
    vectors = np.array([[0.1, -2.5e-7, 3.0], [1 / 3, 0.0, -1.0]], dtype=np.float32)
    plain = json.loads(embeddings_body(vectors, model="m", tokens=7, encoding="float"))
    packed = json.loads(embeddings_body(vectors, model="m", tokens=7, encoding="base64"))
    assert np.array_equal(np.array([row["embedding"] for row in plain["data"]], np.float32), vectors)
    unpacked = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in packed["data"]]
    assert np.array_equal(np.array(unpacked), vectors)
    assert [row["index"] for row in plain["data"]] == [0, 1]
    assert plain["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
