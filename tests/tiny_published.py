"""A folder in the published Stella layout that plain sentence-transformers wrote, of a few kilobytes."""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch import nn

from tests.tiny_models import tiny_bert

SIZES = (12, 24, 40)
DEFAULT = 24
PROMPTS = {
    "s2p_query": "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: ",
    "s2s_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
}


def tiny_published(folder: Path, scratch: Path, *, activation: nn.Module | None = None, normalized: bool = False) -> Path:
    """Write it to ``folder``; returns it. ``scratch`` takes its backbone.

    Args:
        activation: of every head; None is the published models' Identity.
        normalized: whether a Normalize module follows the head.
    """
    backbone = Transformer(tiny_bert(scratch), max_seq_length=32)
    torch.manual_seed(21)
    heads = {size: Dense(32, size, activation_function=activation or nn.Identity()) for size in SIZES}
    behind = [Normalize()] if normalized else []
    modules = [backbone, Pooling(32, "mean"), heads[DEFAULT], *behind]
    SentenceTransformer(modules=modules, prompts=PROMPTS, similarity_fn_name="cosine", device="cpu").save(str(folder))
    (folder / "2_Dense").rename(folder / f"2_Dense_{DEFAULT}")
    for size in SIZES:
        (folder / f"2_Dense_{size}").mkdir(exist_ok=True)
        heads[size].save(str(folder / f"2_Dense_{size}"))
    return at_size(folder, DEFAULT, written="2_Dense")


def at_size(folder: Path, size: int, written: str = f"2_Dense_{DEFAULT}") -> Path:
    """Edit ``modules.json`` as users of the published models do."""
    path = folder / "modules.json"
    path.write_text(path.read_text().replace(f'"{written}"', f'"2_Dense_{size}"'))
    return folder
