"""What is measured by ``gpu_student.py``: the student, its stages, its batches, and the plain loop that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2Model

from mtd_ray.config import StageConfig, StudentConfig
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.fusion import TargetSpec
from mtd_ray.student import Student

ALL_THREE = {"cosine": 10, "similarity": 200, "ranking": 20}
RELATIVE = {"similarity": 200, "ranking": 20}


@dataclass(frozen=True)
class Size:
    """The student, its teachers, and the batches."""

    model: dict[str, Any]
    teachers: tuple[int, ...]
    heads: tuple[int, ...]
    max_tokens: int
    batches: tuple[int, ...]


TRUE = Size(
    model={
        "vocab_size": 151_646,
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    teachers=(4096, 8192),
    heads=(12288, 1024, 512, 256),
    max_tokens=512,
    batches=(128, 1024),
)
TINY = Size(
    model={
        "vocab_size": 500,
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
    },
    teachers=(32, 64),
    heads=(96, 32, 16, 8),
    max_tokens=64,
    batches=(8, 32),
)


def mixed_lengths(count: int, longest: int, rng: np.random.Generator) -> list[int]:
    """Tokens of web documents (half), of runs of one to ten of their sentences (3 in 10), and of short texts (1 in 5), cut off."""
    kinds = rng.choice(3, size=count, p=(0.5, 0.3, 0.2))
    documents = rng.lognormal(np.log(450), 0.9, count)
    sentences = rng.integers(1, 11, count) * rng.normal(24, 5, count)
    short = rng.lognormal(np.log(24), 0.6, count)
    tokens = np.choose(kinds, [documents, sentences, short]) * longest / 512
    return [int(count) for count in np.clip(tokens, 3, longest)]


def batch_of(size: Size, rows: int, rng: np.random.Generator, *, cached: bool) -> Batch:
    """Random ids and targets; ``cached``: with the trunk's outputs in place of the tokens."""
    lengths = mixed_lengths(rows, size.max_tokens, rng)
    ids = [] if cached else [rng.integers(1, size.model["vocab_size"], length).tolist() for length in lengths]
    numbers = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return Batch(
        ids=[str(row) for row in range(rows)],
        shares=[np.arange(rows)],
        token_ids=ids,
        pooled=torch.randn(rows, size.model["hidden_size"], generator=numbers) if cached else None,
        owners=[np.arange(rows)],
        blocks=[torch.randn(rows, dim, generator=numbers).half() for dim in size.teachers],
        valid=[torch.ones(rows, dtype=torch.bool) for _ in size.teachers],
    )


def build_student(size: Size, device: torch.device) -> Student:
    config = StudentConfig(model="random", heads=size.heads, max_tokens=size.max_tokens)
    tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=0, padding_side="right")
    return Student(config, backbone(size, device), tokenizer, seed=0).to(device)


def backbone(size: Size, device: torch.device) -> Any:
    torch.manual_seed(0)
    with device:
        return Qwen2Model(Qwen2Config(**size.model, is_causal=False, use_cache=False, max_position_embeddings=32_768)).eval()


def stages(size: Size) -> dict[str, StageConfig]:
    """The three published stages (arXiv 2412.19048)."""
    largest, *others = size.heads
    common = {"lr": 7e-5, "steps": 1000, "batch_size": 128}
    every = {largest: ALL_THREE} | dict.fromkeys(others, RELATIVE)
    wanted: dict[str, dict[str, Any]] = {
        "everything": {"trainable": "all", "heads": every},
        "last_3": {"trainable": {"last": 3}, "heads": {largest: ALL_THREE}},
        "cached_trunk": {"trainable": "heads", "heads": {largest: ALL_THREE}},
    }
    return {name: StageConfig.model_validate({"name": name} | common | keys) for name, keys in wanted.items()}


def target_of(size: Size) -> TargetSpec:
    names = tuple(f"teacher_{index}" for index in range(len(size.teachers)))
    cut: Literal["cut"] = "cut"
    return TargetSpec(
        teachers=names,
        weights=(1.0,) * len(names),
        sizes=size.teachers,
        shorten=(cut,) * len(names),
        layouts={size.heads[0]: tuple(zip(names, size.teachers, strict=True))},
        bases={},
    )


def peer_step(size: Size, device: torch.device, rows: int) -> Callable[[Batch], None]:
    """A plain loop's step, which pads micro-batches of so many rows to the longest of them."""
    model = backbone(size, device).bfloat16()
    heads = nn.ModuleList(nn.Linear(size.model["hidden_size"], head) for head in size.heads).to(device, torch.bfloat16)
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=7e-5, fused=True)

    def step(batch: Batch) -> None:
        targets = torch.cat([F.normalize(block.to(device).float(), dim=-1) for block in batch.blocks], dim=-1)
        for begin in range(0, len(batch.token_ids), rows):
            part = slice(begin, begin + rows)
            ids, mask = padded(batch.token_ids[part], device)
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            pooled = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            outputs = [head(pooled).float() for head in heads]
            losses = [1 - F.cosine_similarity(output, targets[part, : output.shape[1]]).mean() for output in outputs]
            torch.autograd.backward(torch.stack(losses).sum())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def padded(token_ids: Sequence[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [torch.tensor(ids) for ids in token_ids]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids.to(device), mask.to(device)
