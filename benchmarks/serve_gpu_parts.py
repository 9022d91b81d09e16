"""What ``serve_gpu.py`` serves, to whom: a student with random weights and its tokenizer, texts of so many tokens, and clients."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from gpu_student_parts import Size, backbone
from reference_texts import reference_texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mtd_ray.config import StudentConfig
from mtd_ray.export import export_student
from mtd_ray.student import Student
from serve.engine.engine import Engine, Question

_VOCABULARY = 16_000
_PADDING = "<|endoftext|>"
_FIRST_SECONDS = 1.0


@dataclass(frozen=True)
class Measured:
    """What clients saw who each ask one text after the other."""

    clients: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float


def write_student(size: Size, heads: tuple[int, ...], dtype: str, device: torch.device, folder: Path) -> Path:
    """An exported student with random weights, and a byte-level BPE like Qwen2's, learned from Python's language reference."""
    tokenizer = _tokenizer(reference_texts(4_000, random.Random(1)), min(_VOCABULARY, size.model["vocab_size"]))
    config = StudentConfig(model="random", heads=heads, max_tokens=size.max_tokens, default_head=heads[0])
    student = Student(config, backbone(size, device), tokenizer, seed=0)
    export_student(student, folder, card=None, dtype="bfloat16" if dtype == "bfloat16" else "float32")
    return folder


def texts_of(folder: Path, tokens: int, count: int) -> list[str]:
    """Pieces of the language reference, each of about so many tokens."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    line = [token for encoding in tokenizer.encode_batch(reference_texts(2_000, random.Random(2))) for token in encoding.ids]
    rng = random.Random(3)
    starts = [rng.randrange(len(line) - tokens) for _ in range(count)]
    return [tokenizer.decode(line[start : start + tokens]) for start in starts]


def measure(engine: Engine, texts: Sequence[str], clients: int, seconds: float) -> Measured:
    """Requests of one text each, by so many clients at once, after a second that does not count."""
    answered: list[tuple[float, float]] = []
    begun = time.perf_counter() + _FIRST_SECONDS
    ends = begun + seconds

    async def client(number: int) -> None:
        turn = number
        while (asked := time.perf_counter()) < ends:
            await engine.answer(Question(model=None, rows=[texts[turn % len(texts)]], size=None, flow=str(number), truncate=True))
            answered.append((asked, time.perf_counter()))
            turn += clients

    async def all_clients() -> None:
        await asyncio.gather(*(client(number) for number in range(clients)))

    asyncio.run(all_clients())
    counted = [(asked, done) for asked, done in answered if begun <= done <= ends]
    latencies = np.array([done - asked for asked, done in counted]) * 1e3
    p50, p99 = np.percentile(latencies, [50, 99]) if counted else (np.inf, np.inf)
    return Measured(clients, round(len(counted) / seconds, 1), round(float(p50), 1), round(float(p99), 1))


def batches_of(ids: Sequence[list[int]], tokens: int, count: int) -> list[list[list[int]]]:
    """Full batches of texts, in the order given."""
    rows = max(tokens // max(map(len, ids)), 1)
    numbers = iter(range(10**9))
    return [[ids[number % len(ids)] for number in islice(numbers, rows)] for _ in range(count)]


def _tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[_PADDING], initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=_PADDING, eos_token=_PADDING, model_max_length=32_768)
