"""A gte-v1.5 folder as it is published (``model_type: new``, remote code) loads without its code and computes the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import BertTokenizer

from mtd_ray.config import StudentConfig
from mtd_ray.errors import RecipeError
from mtd_ray.export import export_student
from mtd_ray.student import Student, gte, pad_tokens, tokenize
from tests.tiny_models import SPECIAL, WORDS

HIDDEN, HEADS, LAYERS, INNER, VOCABULARY = 32, 4, 2, 48, 128
TEXT = "sort the list of numbers and return the mean value"


def published_config(**changes: Any) -> dict[str, Any]:
    """The keys of the published config.json that describe the computation."""
    config = {
        "architectures": ["NewModel"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {"AutoConfig": "Owner/code--configuration.NewConfig", "AutoModel": "Owner/code--modeling.NewModel"},
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "max_position_embeddings": 8192,
        "model_type": "new",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pack_qkv": True,
        "pad_token_id": 0,
        "position_embedding_type": "rope",
        "rope_scaling": {"factor": 2.0, "type": "ntk"},
        "rope_theta": 160000,
        "torch_dtype": "float32",
        "type_vocab_size": 2,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "vocab_size": VOCABULARY,
    }
    return config | changes


def published_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + random(HIDDEN), f"{name}.bias": random(HIDDEN)}

    weights = {"embeddings.word_embeddings.weight": random(VOCABULARY, HIDDEN)}
    weights |= {"embeddings.token_type_embeddings.weight": random(2, HIDDEN)} | norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        weights |= {
            f"{layer}.attention.qkv_proj.weight": random(3 * HIDDEN, HIDDEN),
            f"{layer}.attention.qkv_proj.bias": random(3 * HIDDEN),
            f"{layer}.attention.o_proj.weight": random(HIDDEN, HIDDEN),
            f"{layer}.attention.o_proj.bias": random(HIDDEN),
            f"{layer}.mlp.up_gate_proj.weight": random(2 * INNER, HIDDEN),
            f"{layer}.mlp.down_proj.weight": random(HIDDEN, INNER),
            f"{layer}.mlp.down_proj.bias": random(HIDDEN),
        }
        weights |= norm(f"{layer}.attn_ln") | norm(f"{layer}.mlp_ln")
    return weights


def published_states(w: dict[str, Tensor], ids: Tensor, *, factor: float | None) -> Tensor:
    """States ``(tokens, hidden)`` of one text as the published model computes them, step by step."""
    size = HIDDEN // HEADS
    powers = torch.arange(0, size, 2).float() / size
    frequencies = 160000**-powers if factor is None else (160000 * factor) ** -powers / factor ** (2 / size)
    angles = torch.outer(torch.arange(len(ids)).float(), frequencies)
    rotation = torch.polar(torch.ones_like(angles), angles)

    def rotate(x: Tensor) -> Tensor:
        turned = torch.complex(*x.float().chunk(2, dim=-1)) * rotation
        return torch.cat([turned.real, turned.imag], dim=-1)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (HIDDEN,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    x = norm(w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        qkv = F.linear(x, w[f"{layer}.attention.qkv_proj.weight"], w[f"{layer}.attention.qkv_proj.bias"])
        q, k, v = (part.view(len(ids), HEADS, size).transpose(0, 1) for part in qkv.split(HIDDEN, dim=-1))
        seen = torch.softmax(rotate(q) @ rotate(k).transpose(1, 2) / size**0.5, dim=-1) @ v
        attended = F.linear(
            seen.transpose(0, 1).reshape(len(ids), HIDDEN),
            w[f"{layer}.attention.o_proj.weight"],
            w[f"{layer}.attention.o_proj.bias"],
        )
        x = norm(x + attended, f"{layer}.attn_ln")
        up, gate = F.linear(x, w[f"{layer}.mlp.up_gate_proj.weight"]).split(INNER, dim=-1)
        x = norm(
            x + F.linear(up * F.gelu(gate), w[f"{layer}.mlp.down_proj.weight"], w[f"{layer}.mlp.down_proj.bias"]), f"{layer}.mlp_ln"
        )
    return x


def publish(folder: Path, prefix: str = "new.", **changes: Any) -> str:
    """A folder in the published form."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(published_config(**changes)))
    save_file(
        {prefix + name: tensor for name, tensor in published_weights().items()}, folder / "model.safetensors", {"format": "pt"}
    )
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def build(model: str, **changes: Any) -> Student:
    return Student.build(StudentConfig.model_validate({"model": model, "heads": (16, 8), "max_tokens": 64} | changes), 0)


@pytest.mark.parametrize(("prefix", "factor"), [("new.", 2.0), ("", 2.0), ("new.", None)])
def test_a_published_folder_computes_what_it_computes_with_its_own_code(tmp_path: Path, prefix: str, factor: float | None) -> None:
    scaling = None if factor is None else {"factor": factor, "type": "ntk"}
    student = build(publish(tmp_path / "model", prefix, rope_scaling=scaling))
    token_ids = tokenize(student.tokenizer, [TEXT], 64)
    expected = published_states(published_weights(), torch.tensor(token_ids[0]), factor=factor)
    ids, mask = pad_tokens(student.tokenizer, token_ids)
    states = student.backbone(input_ids=ids, attention_mask=mask).last_hidden_state[0]
    torch.testing.assert_close(states, expected, atol=2e-5, rtol=1e-4)
    packed = student.pool_packed(ids[0], torch.tensor([0, ids.shape[1]], dtype=torch.int32), 64)
    torch.testing.assert_close(packed[0], expected.mean(0), atol=2e-5, rtol=1e-4)


def test_a_transformers_without_these_models_is_told_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(__version__="5.17.0")
    monkeypatch.setitem(sys.modules, "transformers", older)
    monkeypatch.setattr(gte, "transformers", older)
    with pytest.raises(RecipeError, match=r"needs transformers 5\.23 or newer, and this machine has 5\.17\.0"):
        gte.gte_config(published_config())


def test_its_student_is_exported_for_everyone(tmp_path: Path) -> None:
    student = build(publish(tmp_path / "model"), layers=(1,))
    export_student(student, tmp_path / "exported", card=None)
    ids, mask = pad_tokens(student.tokenizer, tokenize(student.tokenizer, [TEXT], 64))
    expected = student.project(student.pool(ids, mask), [16])[16].detach().numpy()
    loaded = SentenceTransformer(str(tmp_path / "exported"), device="cpu", local_files_only=True)
    torch.testing.assert_close(torch.tensor(loaded.encode([TEXT])), torch.tensor(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"logn_attention_scale": True}, {"position_embedding_type": "absolute"}, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}],
)
def test_what_only_its_own_code_computes_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=rf"cannot be loaded: {next(iter(change))} .* which is never run"):
        build(publish(tmp_path / "model", **change))
