"""The 8-bit backend: near the float vectors, built once, clear about what it cannot do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import Encoder, int8
from mtd_ray.errors import MtdError
from tests.tiny_models import sentences, tiny_bert, tiny_qwen2

BACKEND = "openvino-int8"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"), layers=2)


def test_vectors_near_float_ones_and_built_once(bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    texts = sentences(40)
    vectors = Encoder.load(bert, max_tokens=32, backend=BACKEND, batch_tokens=64).encode(texts)
    exact = Encoder.load(bert, max_tokens=32, device="cpu").encode(texts)
    cosine = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.97
    assert np.abs(vectors - exact).max() > 1e-6

    monkeypatch.setattr("mtd_ray.encoder.int8.quantised", lambda *_: pytest.fail("quantised a second time"))
    again = Encoder.load(bert, max_tokens=32, backend=BACKEND, batch_tokens=64).encode(texts)
    np.testing.assert_array_equal(again, vectors)
    assert [path.name[:5] for path in tmp_path.iterdir()] == ["int8-"]


def test_stored_model_is_built_anew_by_other_versions(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    model, tools = SentenceTransformer(bert, device="cpu")[0].auto_model, int8.toolkit("this test")
    stored = int8._digest(model, tools)
    assert int8._digest(model, tools) == stored
    for place, name in ((int8, "_FORMAT"), (int8, "_COMPRESSION"), (torch, "__version__"), (transformers, "__version__")):
        with monkeypatch.context() as changed:
            changed.setattr(place, name, "another")
            assert int8._digest(model, tools) != stored, name


def test_computes_in_float32_on_every_processor(bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    transformer = Encoder.load(bert, max_tokens=32, backend=BACKEND).model[0].model
    assert transformer._request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


def test_missing_package_names_the_extra(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MtdError, match=r"pip install 'mtd-ray\[int8\]'"):
        Encoder.load(bert, max_tokens=32, backend=BACKEND)


def test_other_families_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(MtdError, match="does not know 'qwen2' models"):
        Encoder.load(tiny_qwen2(tmp_path), max_tokens=32, backend=BACKEND)


def test_other_types_are_refused(bert: str) -> None:
    with pytest.raises(MtdError, match="dtype bfloat16"):
        Encoder.load(bert, max_tokens=32, dtype="bfloat16", backend=BACKEND)
