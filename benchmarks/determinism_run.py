"""A small run of every kind of stage, with made-up texts and teachers, and the process that trains it: for determinism.py."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, PreTrainedTokenizerFast

from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, build_corpus, read_shard
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import parts_of, write_part, write_teacher_description

WORDS = [first + second for first in ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki") for second in ("la", "me", "ni", "po", "ru")]
ALL = {"cosine": 10.0, "similarity": 200.0, "ranking": 20.0}
TEACHERS = {
    "alpha": {"provider": "openai", "model": "alpha", "dimensions": 48},
    "beta": {"provider": "openai", "model": "beta", "dimensions": 16, "weight": 0.5},
}


class SlowStore(ObjectStore):
    """A store whose uploads of files take a while longer, as those of large checkpoints do."""

    def __init__(self, url: str, delay_s: float) -> None:
        super().__init__(url)
        self.delay_s = delay_s

    def __reduce__(self) -> tuple[Any, ...]:
        return SlowStore, (self.url, self.delay_s)

    def upload(self, path: Path, key: str) -> None:
        """Write, and take a while to say so."""
        super().upload(path, key)
        time.sleep(self.delay_s)


def prepare(folder: Path, *, workers: int, zero_stage: int, dtype: str, steps: int, every: int | None) -> tuple[Recipe, Manifest]:
    """Texts, vectors of both teachers, and a recipe: a head, progressive unfreezing, and everything with two heads."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = _texts(1_200)
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    stage = {"batch_size": 24, "lr": 2e-4, "heads": {64: ALL}}
    parts = {"progressive": ["heads", {"last": 1}, "all"]}
    tree = {
        "name": "determinism",
        "storage": str(folder / "store"),
        "corpus": {"source": {"format": "jsonl", "path": str(folder / "texts.jsonl")}, "shard_rows": 250},
        "teachers": TEACHERS,
        "harvest": {"part_rows": 128},
        "student": {"model": _model(folder / "model"), "init": "random", "heads": [64, 16], "max_tokens": 32},
        "stages": [
            stage | {"name": "head", "trainable": "heads", "steps": steps // 4},
            stage | {"name": "layers", "trainable": parts, "steps": steps // 4, "teachers": ["alpha", "beta"]},
            # Large enough for several passes per worker, which share one lookup of the words.
            stage
            | {
                "name": "all",
                "steps": steps // 2,
                "batch_size": 96,
                "heads": {64: ALL, 16: {"similarity": 200.0, "ranking": 20.0}},
            },
        ],
        "train": {
            "workers": workers,
            "zero_stage": zero_stage,
            "dtype": dtype,
            "checkpoint_every": every,
            "log_every": 1,
            "shuffle_shards": 3,
        },
    }
    recipe = Recipe.model_validate_json(json.dumps(tree))
    store = ObjectStore(str(folder / "store"))
    manifest = build_corpus(store, recipe)
    _store_targets(store, recipe, manifest)
    return recipe, manifest


def work(rank: int, workers: int, rendezvous: str, job: TrainingJob, kill_at: tuple[str, int] | None) -> None:
    """One worker process. At the end of step ``kill_at`` worker 0 dies without notice."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(workers), LOCAL_RANK=str(rank))
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=workers)
    train(job, _killer(kill_at))
    dist.destroy_process_group()


def _killer(kill_at: tuple[str, int] | None) -> Callable[[StepMetrics], None]:
    def report(metrics: StepMetrics) -> None:
        if (metrics.stage, metrics.step) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return report


def _texts(count: int) -> list[str]:
    chance = np.random.default_rng(5)
    return [" ".join(chance.choice(WORDS, size=int(chance.integers(3, 24)))) + f" {number}" for number in range(count)]


def _model(folder: Path) -> str:
    """The architecture of BERT at a hundred thousand parameters, and a tokenizer of whole words."""
    known = {token: number for number, token in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64)
    fast.save_pretrained(folder)
    BertConfig(
        vocab_size=len(known),
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        initializer_range=0.1,
        architectures=["BertModel"],
    ).save_pretrained(folder)
    return str(folder)


def _store_targets(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> None:
    """A direction per word, added up: vectors that a student can learn. Every 40th text has none of the second teacher."""
    for number, (name, teacher) in enumerate(recipe.teachers.items()):
        directions = np.random.default_rng(number).normal(size=(len(WORDS), teacher.dimensions)).astype(np.float32)
        digest = teacher_fingerprint(teacher)
        part_rows = write_teacher_description(store, digest, {"model": name}, recipe.harvest.part_rows)
        for part in parts_of(manifest, part_rows):
            table = read_shard(store, part.shard).slice(part.start, part.stop - part.start)
            words = [[WORDS.index(word) for word in text.split() if word in WORDS] for text in table["text"].to_pylist()]
            vectors = np.stack([directions[found].sum(axis=0) for found in words])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            missing = dict.fromkeys(range(0, len(words), 40), "left out") if name == "beta" else {}
            vectors[list(missing)] = 0
            write_part(store, digest, part, table["id"].to_pylist(), vectors, missing, tokens=1, requests=1, seconds=0.1)
