"""Two versions of a student for ``serve_chaos.py``, the texts it is asked for, and the vectors that are right.

The shape is that of all-MiniLM-L6-v2 (six layers of 384), the weights are random and the vocabulary is small. The embedding of one
word is not a number, so that every text with that word gives a vector that is not finite: a poison that no mock imitates.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mtd_ray.config import StudentConfig
from mtd_ray.encoder import StudentEncoder
from mtd_ray.export import export_student
from mtd_ray.student import Student

MODEL = "student"
VERSIONS = ("1", "2")
SIZES = (384, 128)
POISON = "poison"
MAX_TOKENS = 128
TEXTS = 160
SHORTEST, LONGEST = 3, 100  # words; a word is a token
WORDS = [f"{first}{middle}{last}" for first in "bdfgklmn" for middle in "aeiou" for last in ("r", "ls", "mt", "nd", "st", "x")]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
APART = 0.05  # vectors of two texts, or of two versions, differ by more than this somewhere

Right = dict[tuple[str, int], np.ndarray]


def export_versions(folder: Path) -> dict[str, Path]:
    """Export both versions; returns where each one is."""
    return {version: _export(folder / version, folder / f"{version}-backbone", seed) for seed, version in enumerate(VERSIONS)}


def texts(seed: int = 0) -> list[str]:
    """Distinct texts of mixed lengths, most of them short."""
    chance = np.random.default_rng(seed)
    lengths = np.exp(chance.uniform(math.log(SHORTEST), math.log(LONGEST), TEXTS)).astype(int)
    return [" ".join(chance.choice(WORDS, length)) for length in lengths]


def poisoned(text: str) -> str:
    """The text with the word whose embedding is not a number."""
    return f"{text} {POISON}"


def right_vectors(folders: dict[str, Path], asked: list[str]) -> Right:
    """What an answer calls its version, and size → vectors (texts, size) as the exported folders give them.

    Raises:
        SystemExit: two texts or two versions are so alike that mistaking one for the other would not be seen.
    """
    right: Right = {}
    for version, folder in folders.items():
        encoder = StudentEncoder.load(folder, device="cpu")
        for size, vectors in encoder.encode(asked, heads=list(SIZES)).items():
            right[f"{MODEL}@{version}", size] = vectors
    for size in SIZES:
        every = np.concatenate([vectors for (_, of_size), vectors in right.items() if of_size == size])
        nearest = min(np.abs(np.delete(every, row, 0) - every[row]).max(1).min() for row in range(len(every)))
        if nearest < APART:
            raise SystemExit(f"vectors of {size} numbers of two texts differ by {nearest:.1e} only: nobody could tell them apart")
    return right


def _export(folder: Path, backbone: Path, seed: int) -> Path:
    tokenizer = _tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.1,
    )
    BertModel(config).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    described = StudentConfig(model=str(backbone), heads=SIZES, default_head=SIZES[0], max_tokens=MAX_TOKENS)
    student = Student.build(described, seed=seed)
    with torch.no_grad():
        student.backbone.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(POISON)] = float("nan")
    export_student(student, folder, card=None)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, POISON])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, **names)
