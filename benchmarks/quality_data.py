"""Texts and teachers' vectors of the quality benchmark: chosen and embedded once, then found again in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mtd_ray.corpus.clean import normalise
from mtd_ray.encoder import Encoder

MAX_TOKENS = 128
_BLOCK_ROWS = 2_000


@dataclass(frozen=True)
class TrainingSet:
    """Texts, and per teacher unit vectors (rows, dim) float16 in the same order."""

    texts: list[str]
    targets: dict[str, npt.NDArray[np.float16]]


def choose_texts(data: Path, rows: int, *, seed: int = 0) -> list[str]:
    """A fixed sample of ``train_texts``; a source counts by the square root of its size, or dictionaries would drown the rest.

    Args:
        data: the folder that holds ``train_texts/train.parquet`` (columns ``text`` and ``source``).
    """
    table = pq.read_table(data / "train_texts" / "train.parquet", columns=["text", "source"])
    _, source_of, sizes = np.unique(table["source"].to_numpy(zero_copy_only=False), return_inverse=True, return_counts=True)
    chance = sizes[source_of] ** -0.5
    random = np.random.default_rng(seed)
    # Gumbel's trick: the largest of log-weights plus noise are a weighted sample without replacement.
    chosen = random.permutation(np.sort(np.argsort(-(np.log(chance) + random.gumbel(size=len(chance))))[:rows]))
    return [normalise(text) for text in table["text"].take(chosen).to_pylist()]


def training_set(texts: Sequence[str], teachers: dict[str, str], cache: Path) -> TrainingSet:
    """The texts with every teacher's vectors; embedded block by block, so that an interruption loses little.

    Args:
        teachers: name → model folder.
        cache: vectors are kept here, by model and texts.
    """
    targets = {}
    for name, model in teachers.items():
        digest = hashlib.sha256("\0".join([model, str(MAX_TOKENS), *texts]).encode()).hexdigest()[:16]
        targets[name] = _embedded(texts, model, cache / f"{name}-{digest}")
    return TrainingSet(list(texts), targets)


def _embedded(texts: Sequence[str], model: str, folder: Path) -> npt.NDArray[np.float16]:
    folder.mkdir(parents=True, exist_ok=True)
    encoder: Encoder | None = None
    blocks = []
    for begin in range(0, len(texts), _BLOCK_ROWS):
        file = folder / f"{begin:08d}.npy"
        if not file.exists():
            encoder = encoder or Encoder.load(model, max_tokens=MAX_TOKENS)
            vectors = encoder.encode(texts[begin : begin + _BLOCK_ROWS])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
            scratch = file.with_suffix(".tmp")
            with scratch.open("wb") as stream:
                np.save(stream, vectors.astype(np.float16))
            scratch.rename(file)
        blocks.append(np.load(file))
    return np.concatenate(blocks)
