"""A checkpoint that does not fill the model is refused; a model takes as many tokens as it has positions for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import RobertaConfig, RobertaModel

from mtd_ray.config import StudentConfig
from mtd_ray.errors import RecipeError
from mtd_ray.student.architecture import load_architecture
from mtd_ray.student.backbone import load_backbone
from mtd_ray.student.packed import first_position
from tests.tiny_models import tiny_bert, tiny_tokenizer


def config(model: str | Path, **changes: object) -> StudentConfig:
    return StudentConfig.model_validate({"model": str(model), "heads": (8,), "max_tokens": 32} | changes)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return Path(tiny_bert(tmp_path))


def rename(folder: Path, new_name: Callable[[str], str | None]) -> None:
    """Give the checkpoint's tensors other names; None leaves one out."""
    path = folder / "model.safetensors"
    tensors = {new_name(name): tensor.clone() for name, tensor in load_file(path).items()}
    save_file({name: tensor for name, tensor in tensors.items() if name is not None}, path, metadata={"format": "pt"})


def test_weights_of_another_architecture_are_refused(bert: Path) -> None:
    rename(bert, lambda name: f"transformer.{name}")
    with pytest.raises(
        RecipeError, match=r"^student\.model: .* lack \d+ tensors of BertModel: embeddings\.\S+, \S+, \S+, \.\.\.; choose"
    ):
        load_backbone(config(bert), 0)


def test_weights_without_one_layer_s_attention_are_refused(bert: Path) -> None:
    rename(bert, lambda name: None if "layer.1.attention.self.query" in name else name)
    with pytest.raises(
        RecipeError, match=r"lack 2 tensors of BertModel: encoder\.layer\.1\.attention\.self\.query\.bias, \S+weight; choose"
    ):
        load_backbone(config(bert), 0)


def test_weights_without_a_pooler_are_enough(bert: Path) -> None:
    rename(bert, lambda name: None if "pooler" in name else name)
    backbones = [load_backbone(config(bert), seed) for seed in (0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(*(backbone.parameters() for backbone in backbones), strict=True))


def test_weights_of_another_size_or_a_damaged_file_are_refused(bert: Path) -> None:
    weights = (bert / "model.safetensors").read_bytes()
    tiny_bert(bert, hidden=16)
    (bert / "model.safetensors").write_bytes(weights)
    with pytest.raises(RecipeError, match=r"^student\.model: .* cannot be loaded"):
        load_backbone(config(bert), 0)
    (bert / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(RecipeError, match=r"^student\.model: .* cannot be loaded"):
        load_backbone(config(bert), 0)


@pytest.fixture
def roberta(tmp_path: Path) -> Path:
    """40 positions, of which texts get all but the first two."""
    tokenizer = tiny_tokenizer()
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    folder = tmp_path / "roberta"
    RobertaModel(
        RobertaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=40, pad_token_id=1, initializer_range=0.2)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_positions_that_no_token_gets_are_not_counted(roberta: Path, bert: Path) -> None:
    load_architecture(config(roberta, max_tokens=38))
    for wanted in (39, 40, 41):
        with pytest.raises(RecipeError, match=rf"^student\.max_tokens: {wanted} is more than the (38|40) tokens"):
            load_architecture(config(roberta, max_tokens=wanted))
    load_architecture(config(bert, max_tokens=64))


def test_a_text_that_the_backbone_cannot_take_is_told_of(roberta: Path) -> None:
    backbone = load_backbone(config(roberta), 0)
    assert first_position(backbone, 38) == 2
    with pytest.raises(RecipeError, match=r"^student\.max_tokens: RobertaModel cannot embed a text of 39 tokens"):
        first_position(backbone, 39)
