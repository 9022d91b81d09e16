"""Texts in one line, without padding, get the vectors of padded ones; what cannot be packed is padded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from transformers import ModernBertConfig, ModernBertModel, MPNetConfig, MPNetModel, RobertaConfig, RobertaModel

from mtd_ray.encoder import Encoder
from mtd_ray.encoder.loading import load_model
from mtd_ray.encoder.packed import packed_modules
from tests.tiny_models import sentences, tiny_bert, tiny_model, tiny_qwen2

TEXTS = [*sentences(12), "", "sort " * 80]


def tiny_both_ways(folder: Path) -> str:
    """A Qwen2 whose tokens see those behind them too."""
    path = Path(tiny_qwen2(folder)) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"is_causal": False}))
    return str(folder)


def tiny_modernbert(folder: Path) -> str:
    windows = {"local_attention": 8, "global_attn_every_n_layers": 2}
    return tiny_model(folder, ModernBertModel, ModernBertConfig, pad_token_id=0, **windows)


MODELS: dict[str, Callable[[Path], str]] = {
    "bert": tiny_bert,
    "roberta": lambda folder: tiny_model(folder, RobertaModel, RobertaConfig, pad_token_id=1),
    "qwen2": tiny_both_ways,
    "modernbert": tiny_modernbert,
}


def saved(folder: Path, kind: Callable[[Path], str], pooling: str = "mean", *, include_prompt: bool = True) -> str:
    modules = [
        Transformer(kind(folder / "base"), max_seq_length=24),
        Pooling(32, pooling, include_prompt=include_prompt),  # type: ignore[arg-type]
        Dense(32, 12),
    ]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return str(folder / "model")


def load(folder: str, dtype: torch.dtype = torch.float32) -> SentenceTransformer:
    return load_model(folder, revision=None, trust_remote_code=False, dtype=dtype, device="cpu", head=None)


def both_ways(folder: str, dtype: torch.dtype = torch.float32) -> tuple[Encoder, Encoder]:
    padded = Encoder(load(folder, dtype), batch_tokens=50)
    assert not padded.packs
    return padded, Encoder(load(folder, dtype), batch_tokens=50, packed=True)


def embedded(encoder: Encoder, prompt: str = "") -> list[np.ndarray]:
    """Vectors of texts, and of the same texts tokenised ahead."""
    ids = encoder.model[0].tokenizer([prompt + text for text in TEXTS], truncation=True)["input_ids"]
    found = encoder.run_ids(ids, lambda rows, features: [encoder.through(features)["sentence_embedding"]])
    by_row = {row: vector for rows, (vectors,) in found for row, vector in zip(rows, vectors, strict=True)}
    return [encoder.encode(TEXTS, prompt=prompt), np.stack([by_row[row] for row in range(len(TEXTS))])]


@pytest.mark.parametrize("kind", MODELS)
def test_vectors_are_those_of_padded_texts(tmp_path: Path, kind: str) -> None:
    padded, packed = both_ways(saved(tmp_path, MODELS[kind]))
    assert packed.packs
    expected, *_ = embedded(padded, "find the ")
    for vectors in embedded(packed, "find the "):
        np.testing.assert_allclose(vectors, expected, atol=2e-5)


@pytest.mark.parametrize("pooling", ["cls", "lasttoken"])
def test_other_poolings(tmp_path: Path, pooling: str) -> None:
    padded, packed = both_ways(saved(tmp_path, tiny_bert, pooling))
    assert packed.packs
    np.testing.assert_allclose(embedded(packed), embedded(padded), atol=2e-5)


def test_in_16_bits_it_is_tried_out_in_32(tmp_path: Path) -> None:
    padded, packed = both_ways(saved(tmp_path, tiny_both_ways), torch.bfloat16)
    assert packed.packs
    assert {parameter.dtype for parameter in packed.model.parameters()} == {torch.bfloat16}
    cosines = torch.cosine_similarity(*(torch.from_numpy(embedded(encoder)[1]) for encoder in (padded, packed)))
    assert float(cosines.min()) > 0.999


@pytest.mark.parametrize("pooling", ["max", "weightedmean"])
def test_a_pooling_that_packed_texts_have_not_is_padded(tmp_path: Path, pooling: str) -> None:
    assert not both_ways(saved(tmp_path, tiny_bert, pooling))[1].packs


def test_a_prompt_that_is_not_pooled_is_padded(tmp_path: Path) -> None:
    assert not both_ways(saved(tmp_path, tiny_bert, include_prompt=False))[1].packs


def test_a_transformer_whose_attention_cannot_be_exchanged_is_padded(tmp_path: Path) -> None:
    folder = saved(tmp_path, lambda base: tiny_model(base, MPNetModel, MPNetConfig, pad_token_id=1))
    padded, packed = both_ways(folder)
    assert not packed.packs
    np.testing.assert_allclose(embedded(packed), embedded(padded), atol=1e-6)


def test_tokens_that_see_only_those_before_them_are_padded(tmp_path: Path) -> None:
    assert not both_ways(saved(tmp_path, tiny_qwen2))[1].packs


def test_a_static_model_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    assert not Encoder(load("package:wordllama"), packed=True).packs


def test_rotary_positions_keep_their_digits_in_16_bits(tmp_path: Path) -> None:
    model = load(saved(tmp_path, tiny_both_ways), torch.bfloat16)
    assert model[0].auto_model.rotary_emb.inv_freq.dtype == torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_without_memory_for_32_bits_it_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_bert(tmp_path)
    model = load_model(folder, revision=None, trust_remote_code=False, dtype=torch.bfloat16, device="cpu", head=None)
    convert, converted = torch.Tensor.float, []

    def full(tensor: torch.Tensor) -> torch.Tensor:
        if len(converted) == 5:
            raise torch.OutOfMemoryError
        converted.append(tensor)
        return convert(tensor)

    monkeypatch.setattr(torch.Tensor, "float", full)
    assert packed_modules(model) is None
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
