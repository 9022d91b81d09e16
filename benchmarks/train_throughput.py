"""Samples per second of training against sentence-transformers' trainer with its EmbedDistillLoss (cosine).

The same student (three layers of MiniLM), texts, stored targets (768 numbers), batches of 64 texts of at most 128 tokens, and
threads for all. Ours is the loop of a run with one worker: targets and texts read from a store, tokenising, batches of like length,
forward and backward pass, DeepSpeed's optimizer step, metrics; once with cosine on one head, once with cosine, similarity and
ranking on four. The peer trains its projection to the target's size, once as it comes and once with batches of like length, for
which it has no option, but takes a sampler. They take turns, each time in a new process; a figure is the median over the rounds.

Targets are random unit vectors, which cost as much to train on as real ones; ``--teacher`` names a model folder for real ones. The
peer needs ``accelerate`` and ``datasets``. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from stored_vectors import store_vectors
from throughput_ours import BATCH, DIMENSIONS, MAX_TOKENS, Speed, ours, recipe_for
from throughput_peer import peer

from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.corpus.clean import normalise
from mtd_ray.encoder import Encoder

# The peer's length grouping sorts 50 batches at a time; its steps are a whole number of these.
GROUP = 50
Ways = dict[str, Callable[[int], Speed]]


def choose_texts(data: Path, rows: int) -> list[str]:
    """A fixed random sample of the training texts, each once."""
    table = pq.read_table(data / "train_texts" / "train.parquet", columns=["text"])
    order = np.random.default_rng(0).permutation(table.num_rows)[: 2 * rows]
    return list(dict.fromkeys(normalise(text) for text in table["text"].take(order).to_pylist()))[:rows]


def target_vectors(texts: list[str], teacher: Path | None) -> npt.NDArray[np.float32]:
    """Unit vectors (texts, 768)."""
    if teacher is None:
        vectors = np.random.default_rng(1).standard_normal((len(texts), DIMENSIONS), dtype=np.float32)
    else:
        vectors = Encoder.load(str(teacher), max_tokens=MAX_TOKENS).encode(texts)
    unit: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def ways_of(given: argparse.Namespace, folder: Path, texts: list[str], vectors: npt.NDArray[np.float32]) -> Ways:
    """What is measured, by name; called with the number of the round."""
    steps = given.length_window * (1 + given.windows)
    recipe = partial(recipe_for, folder, given.student, steps=steps, length_window=given.length_window)
    manifest = store_vectors(recipe("cosine"), texts, {"teacher": vectors}, folder)
    theirs = partial(peer, texts, vectors, given.student, threads=given.threads)
    return {
        "cosine": partial(_ours, recipe("cosine"), manifest, given.threads),
        "peer": partial(_theirs, partial(theirs, steps=given.peer_steps, grouped=False)),
        "full": partial(_ours, recipe("full"), manifest, given.threads),
        "peer_grouped": partial(_theirs, partial(theirs, steps=GROUP, grouped=True)),
    }


def _ours(recipe: Recipe, manifest: Manifest, threads: int, turn: int) -> Speed:
    # A run of a new name: one that has ended is not trained again.
    return ours(recipe.model_copy(update={"name": f"{recipe.name}-{turn}"}), manifest, threads)


def _theirs(train: Callable[[], Speed], turn: int) -> Speed:
    return train()


def measured(ways: Ways, rounds: int) -> dict[str, list[Speed]]:
    """Every way once per round, in turns, each time in a process of its own."""
    found: dict[str, list[Speed]] = {name: [] for name in ways}
    context = multiprocessing.get_context("spawn")
    for turn in range(rounds):
        for name, way in ways.items():
            with ProcessPoolExecutor(1, mp_context=context) as process:
                found[name].append(process.submit(way, turn).result())
            print(f"round {turn + 1}  {name:14}{found[name][-1].samples_per_s:>8.1f} samples/s", flush=True)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train_texts/")
    parser.add_argument("--models", type=Path, required=True, help="folder with all-MiniLM-L6-v2/")
    parser.add_argument("--teacher", type=Path, help="model folder of a teacher with 768 dimensions; by default targets are random")
    parser.add_argument("--rows", type=int, default=12_800, help="texts; the peer's grouping sorts best from 12,800 on")
    parser.add_argument("--windows", type=int, default=2, help="windows of batches that ours trains on after the first one")
    parser.add_argument("--length-window", type=int, default=16, help="batches sorted by length together; 1: as they are drawn")
    parser.add_argument("--peer-steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    given.student = given.models.resolve() / "all-MiniLM-L6-v2"
    return given


def main() -> None:
    given = arguments()
    texts = choose_texts(given.data, given.rows)
    vectors = target_vectors(texts, given.teacher)
    with tempfile.TemporaryDirectory() as folder:
        speeds = measured(ways_of(given, Path(folder), texts, vectors), given.rounds)
    print(json.dumps(record(given, speeds)))


def record(given: argparse.Namespace, speeds: dict[str, list[Speed]]) -> dict[str, object]:
    """What the last line says; a ratio is the median of the rounds' ratios."""

    def against(name: str, other: str) -> float:
        pairs = zip(speeds[name], speeds[other], strict=True)
        return round(statistics.median(one.samples_per_s / two.samples_per_s for one, two in pairs), 2)

    def median(name: str, field: str) -> float:
        return round(float(statistics.median(getattr(speed, field) for speed in speeds[name])), 4)

    return {
        "benchmark": "train_throughput",
        "targets": "random" if given.teacher is None else given.teacher.name,
        "batch": BATCH,
        "threads": given.threads,
        "length_window": given.length_window,
        "rounds": given.rounds,
        "cosine_vs_sentence_transformers": against("cosine", "peer"),
        "full_vs_sentence_transformers": against("full", "peer"),
        "cosine_vs_grouped": against("cosine", "peer_grouped"),
        "data_wait_share": median("cosine", "wait_share"),
        "padding_share": median("cosine", "padding_share"),
        "samples_per_second": {name: round(median(name, "samples_per_s"), 1) for name in speeds},
    }


if __name__ == "__main__":
    main()
