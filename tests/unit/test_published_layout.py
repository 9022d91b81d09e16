"""A folder laid out as Stella v5 is published, written without this project's export, gives the same vectors here and there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import StudentEncoder
from tests.tiny_models import sentences, tiny_qwen2

SIZES = (8, 24, 16)
PROMPTS = {
    "s2p_query": "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: ",
    "s2s_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
}
TEXTS = [*sentences(6), "array " * 60]


def write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def stella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stella")
    tiny_qwen2(folder)
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", config | {"is_causal": False})
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense_16", "Dense"))
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (path, kind) in enumerate(kinds)
    ]
    write(folder / "modules.json", modules)
    modes = {"cls_token": False, "mean_tokens": True, "max_tokens": False, "mean_sqrt_len_tokens": False, "lasttoken": False}
    pooling = {f"pooling_mode_{name}": chosen for name, chosen in modes.items()}
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "include_prompt": True} | pooling)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    write(
        folder / "config_sentence_transformers.json",
        {"__version__": {"sentence_transformers": "3.0.1"}, "prompts": PROMPTS, "default_prompt_name": None,
         "similarity_fn_name": "cosine"},
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    for size in SIZES:
        head = {"in_features": 32, "out_features": size, "bias": True}
        write(folder / f"2_Dense_{size}" / "config.json", head | {"activation_function": "torch.nn.modules.linear.Identity"})
        weights = {
            "linear.weight": torch.randn(size, 32, generator=generator),
            "linear.bias": torch.randn(size, generator=generator),
        }
        save_file(weights, folder / f"2_Dense_{size}" / "model.safetensors")
    return folder


@pytest.mark.parametrize("prompt_name", [None, *PROMPTS])
def test_every_size_is_the_same_in_plain_sentence_transformers(stella: Path, prompt_name: str | None) -> None:
    ours = StudentEncoder.load(stella, device="cpu")
    assert (ours.heads, ours.default_head, ours.prompts) == ((8, 16, 24), 16, PROMPTS)
    vectors = ours.encode(TEXTS, heads=SIZES, prompt=PROMPTS[prompt_name] if prompt_name else "")
    modules = (stella / "modules.json").read_text()
    try:
        for size in SIZES:
            (stella / "modules.json").write_text(modules.replace("2_Dense_16", f"2_Dense_{size}"))
            plain = SentenceTransformer(str(stella), device="cpu").encode(TEXTS, prompt_name=prompt_name)
            np.testing.assert_allclose(vectors[size], plain, atol=1e-5)
    finally:
        (stella / "modules.json").write_text(modules)
