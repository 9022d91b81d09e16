"""Texts in one line, without padding, get the states, the vectors and the gradients that they get alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    GteConfig,
    GteModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
)

from mtd_ray.config import StudentConfig
from mtd_ray.student import Student, pad_tokens, tokenize
from mtd_ray.student.packed import first_position
from tests.tiny_models import sentences, tiny_bert, tiny_model, tiny_qwen2

MAX_TOKENS = 24

MODELS: dict[str, Callable[[Path], str]] = {
    "bert": tiny_bert,
    "qwen2": tiny_qwen2,
    "qwen3": lambda folder: tiny_model(folder, Qwen3Model, Qwen3Config, num_key_value_heads=2, head_dim=8),
    "llama": lambda folder: tiny_model(folder, LlamaModel, LlamaConfig, num_key_value_heads=2),
    "mistral": lambda folder: tiny_model(folder, MistralModel, MistralConfig, num_key_value_heads=2, sliding_window=6),
    "roberta": lambda folder: tiny_model(folder, RobertaModel, RobertaConfig, pad_token_id=1),
    "gte": lambda folder: tiny_model(folder, GteModel, GteConfig, pad_token_id=0),
    "modernbert": lambda folder: tiny_model(
        folder, ModernBertModel, ModernBertConfig, local_attention=8, global_attn_every_n_layers=2, pad_token_id=0
    ),
}


def build(model: str, pooling: str = "mean") -> Student:
    return Student.build(
        StudentConfig.model_validate({"model": model, "heads": (8,), "max_tokens": MAX_TOKENS, "pooling": pooling}), 0
    )


def both_ways(student: Student) -> tuple[torch.Tensor, torch.Tensor]:
    """The same texts padded and packed."""
    token_ids = tokenize(student.tokenizer, [*sentences(9), "", "sort " * 40], MAX_TOKENS)
    ids = torch.tensor([token for row in token_ids for token in row])
    offsets = torch.tensor([0, *map(len, token_ids)]).cumsum(0).int()
    return student.pool(*pad_tokens(student.tokenizer, token_ids)), student.pool_packed(ids, offsets, MAX_TOKENS)


@pytest.mark.parametrize("kind", MODELS)
def test_packed_texts_get_the_vectors_and_gradients_of_padded_ones(tmp_path: Path, kind: str) -> None:
    student = build(MODELS[kind](tmp_path))
    student.freeze("all", [8])
    gradients = []
    states = both_ways(student)
    for pooled in states:
        pooled.square().sum().backward()
        gradients.append({name: p.grad for name, p in student.named_parameters() if p.grad is not None})
        student.zero_grad()
    torch.testing.assert_close(states[1], states[0], atol=2e-5, rtol=1e-4)
    assert gradients[0].keys() == gradients[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5 * largest, rtol=1e-3)


@pytest.mark.parametrize("kind", MODELS)
def test_on_a_cpu_packed_texts_are_padded_for_attention_only(tmp_path: Path, kind: str) -> None:
    """Texts of many lengths fill several rectangles; a text alone fills one."""
    student = build(MODELS[kind](tmp_path))
    with torch.no_grad():
        padded, packed = both_ways(student)
        torch.testing.assert_close(packed, padded, atol=2e-5, rtol=1e-4)
        token_ids = tokenize(student.tokenizer, ["sort the list " * 3], MAX_TOKENS)
        alone = student.pool_packed(torch.tensor(token_ids[0]), torch.tensor([0, len(token_ids[0])]).int(), MAX_TOKENS)
        torch.testing.assert_close(alone, student.pool(*pad_tokens(student.tokenizer, token_ids)), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
def test_packed_pooling_takes_each_text_s_own_tokens(tmp_path: Path, pooling: str) -> None:
    padded, packed = both_ways(build(tiny_bert(tmp_path), pooling))
    torch.testing.assert_close(packed, padded, atol=2e-5, rtol=1e-4)


def test_embedding_packed_texts_leaves_the_padded_way_as_it_was(tmp_path: Path) -> None:
    student = build(tiny_qwen2(tmp_path))
    first, _ = both_ways(student)
    again, _ = both_ways(student)
    assert torch.equal(first, again)


def test_a_backbone_whose_attention_cannot_be_exchanged_is_never_packed(tmp_path: Path) -> None:
    student = build(tiny_model(tmp_path, MPNetModel, MPNetConfig, pad_token_id=1))
    assert not student.packs
    with pytest.raises(ValueError, match="cannot embed packed texts"):
        both_ways(student)


def test_texts_are_packed_only_where_there_is_a_kernel(tmp_path: Path) -> None:
    assert not build(tiny_bert(tmp_path)).packs


def test_a_word_whose_embedding_is_not_finite_is_no_fault_of_packing(tmp_path: Path) -> None:
    student = build(tiny_bert(tmp_path))
    with torch.no_grad():
        student.backbone.get_input_embeddings().weight[7] = torch.nan
    assert first_position(student.backbone, MAX_TOKENS) == 0
    with torch.inference_mode():
        states = student.pool_packed(torch.tensor([2, 9, 9, 3, 2, 7, 3, 2, 9, 3]), torch.tensor([0, 4, 7, 10]).int(), MAX_TOKENS)
    assert states.isfinite().all(1).tolist() == [True, False, True]
