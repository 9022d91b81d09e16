"""What a served model is measured against, without any server: prints one JSON line.

    python benchmarks/serve_load_forward.py MODEL TEXTS VECTORS THREADS

TEXTS is a file of request bodies, one a line. ``forward_ms`` is the mean time of the served model's forward pass over each of the
first texts alone, already tokenised, in a process with nothing else in it. VECTORS, a ``.npy`` file, takes what a plain load of the
folder, ``SentenceTransformer(MODEL).encode``, gives for the first texts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

sys.path.insert(0, str(Path(__file__).parents[1]))

from serve.engine.model import ServedModel

COMPARED, TIMED = 64, 600
_WARM_UP = 20


def forward_ms(model: Path, texts: Sequence[str]) -> float:
    served = ServedModel.load(model, name="measured", device="cpu")
    rows = [served.cut(ids) for ids in served.tokenize(texts[:TIMED])]
    for ids in rows[:_WARM_UP]:
        served.embed([ids], [None])
    started = time.perf_counter()
    for ids in rows:
        served.embed([ids], [None])
    return (time.perf_counter() - started) / len(rows) * 1e3


def main() -> None:
    model, bodies, vectors = map(Path, sys.argv[1:4])
    torch.set_num_threads(int(sys.argv[4]))
    texts = [json.loads(line)["input"] for line in bodies.read_text(encoding="utf-8").splitlines()]
    np.save(vectors, SentenceTransformer(str(model), device="cpu").encode(texts[:COMPARED], show_progress_bar=False))
    print(json.dumps({"forward_ms": forward_ms(model, texts)}))


if __name__ == "__main__":
    main()
