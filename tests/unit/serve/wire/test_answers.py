"""Vectors as they are sent."""

from __future__ import annotations

import base64
import json

import numpy as np

from serve.wire.openai import EmbeddingsResponse, embeddings_body
from serve.wire.tei import embed_body

VECTORS = np.array([[0.1, -2.5e-7, 3.0], [1 / 3, 0.0, -1.0]], dtype=np.float32)


def test_numbers_and_base64_carry_the_same_vectors() -> None:
    plain = json.loads(embeddings_body(list(VECTORS), model="m", tokens=7, encoding=None, dtype=None))
    packed = json.loads(embeddings_body(list(VECTORS), model="m", tokens=7, encoding="base64", dtype="float"))
    assert np.array_equal(np.array([row["embedding"] for row in plain["data"]], np.float32), VECTORS)
    unpacked = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in packed["data"]]
    assert np.array_equal(np.array(unpacked), VECTORS)
    assert [row["index"] for row in plain["data"]] == [0, 1]
    assert plain["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert EmbeddingsResponse.model_validate(plain).model == EmbeddingsResponse.model_validate(packed).model == "m"


def test_numbers_are_as_short_as_float32_allows() -> None:
    assert embed_body([np.array([0.1, 1 / 3], np.float32)]) == b"[[0.1,0.33333334]]"


def test_a_part_of_a_larger_array_can_be_sent() -> None:
    column = np.arange(12, dtype=np.float32).reshape(3, 4)[:, 1]
    assert json.loads(embed_body([column])) == [[1.0, 5.0, 9.0]]
    assert json.loads(embeddings_body([column], model="m", tokens=1, encoding=None, dtype="int8"))["data"][0]["embedding"] == [
        14,
        71,
        127,
    ]
