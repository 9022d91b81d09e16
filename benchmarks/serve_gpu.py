"""The serving engine on one GPU: requests of one text of 128 tokens each, answered by a student of Qwen2's 1.5B shape in bfloat16.

The engine is driven in its own process by clients that each ask one text after the other: no HTTP, no Ray. Every text is tokenised,
waits in the fair queue and shares a packed forward pass, as when served. Weights are random, which costs what trained ones cost;
the tokenizer is a byte-level BPE like Qwen2's. For each batch size and number of clients: requests a second and latencies; counted
is the most requests a second at a 99th percentile of at most 100 ms. Beside it, what the model alone does when full batches follow
each other. Needs torch, transformers, sentence-transformers, numpy, orjson, prometheus_client, pydantic, PyYAML, pyarrow, xxhash;
no Ray, no DeepSpeed. ``--device cpu --tiny`` shows that everything runs. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the package `serve`; `mtd_ray` too, where it is not installed

from gpu_student_parts import TINY, TRUE
from serve_gpu_parts import Measured, batches_of, measure, texts_of, write_student

from mtd_ray.distill.numbers.peak import peak_flops
from serve.engine.engine import Engine
from serve.engine.limits import Limits
from serve.engine.model import ServedModel

P99_MS = 100.0
HEADS, TINY_HEADS = (1024, 512, 256), (32, 16, 8)


@dataclass(frozen=True)
class Setting:
    """What is the same for every measurement."""

    folder: Path
    texts: list[str]
    device: torch.device
    dtype: str
    compiled: bool
    clients: Sequence[int]
    seconds: float


def measured_batches(setting: Setting, batch_tokens: int) -> dict[str, Any]:
    """The model alone, then the engine under each number of clients."""
    model = ServedModel.load(
        setting.folder,
        name="student",
        device=str(setting.device),
        dtype=setting.dtype,
        batch_tokens=batch_tokens,
        compiled=setting.compiled,
    )
    ids = [model.cut(row) for row in model.tokenize(setting.texts)]
    found = {"batch_tokens": batch_tokens, "packed": model.packs, "forward_tokens_per_second": forward_speed(setting, model, ids)}
    engine = Engine({"student": model}, limits=Limits())
    try:
        found["loads"] = [asdict(load) for load in loads_of(setting, engine)]
    finally:
        engine.close()
    found["lowest_cosine"] = lowest_cosine(model, ids)
    return found


def loads_of(setting: Setting, engine: Engine) -> Iterator[Measured]:
    for clients in setting.clients:
        load = measure(engine, setting.texts, clients, setting.seconds)
        print(
            f"    {load.clients:>5} clients{load.requests_per_second:>10,} requests/s   p50 {load.p50_ms} ms   p99 {load.p99_ms} ms"
        )
        yield load


def forward_speed(setting: Setting, model: ServedModel, ids: Sequence[list[int]]) -> int:
    """Tokens a second of full batches, one after the other, after a first one."""
    batches = batches_of(ids, model.batch_tokens, count=8)
    model.embed(batches[0], [None] * len(batches[0]))
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < setting.seconds / 2:
        for batch in batches:
            model.embed(batch, [None] * len(batch))
            done += sum(map(len, batch))
    speed = round(done / passed) if passed else 0
    print(f"batches of {model.batch_tokens:,} tokens: {speed:,} tokens/s without an engine")
    return speed


def lowest_cosine(model: ServedModel, ids: Sequence[list[int]]) -> float:
    """Between the vectors of texts that share a pass and those that they have alone."""
    some = list(ids[:16])
    alone = np.stack([model.embed([row], [None])[0] for row in some])
    together = np.stack(model.embed(some, [None] * len(some)))
    return round(float(((alone * together).sum(1) / np.linalg.norm(alone, axis=1) / np.linalg.norm(together, axis=1)).min()), 6)


def best_of(batches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The load that counts, and the batches it was measured with."""
    every = [load | {"batch_tokens": found["batch_tokens"]} for found in batches for load in found["loads"]]
    in_time = [load for load in every if load["p99_ms"] <= P99_MS]
    none: dict[str, Any] = dict.fromkeys(("requests_per_second", "p99_ms", "clients", "batch_tokens"))
    return max(in_time, key=lambda load: float(load["requests_per_second"]), default=none)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small student, to see that everything runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default=None, help="bfloat16 on a GPU, float32 on a CPU")
    parser.add_argument("--compile", action="store_true", help="fuse what stands between matrix products")
    parser.add_argument("--tokens", type=int, default=128, help="of each text")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[4_096, 8_192])
    parser.add_argument("--clients", type=int, nargs="+", default=[64, 96, 128, 192])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    device = torch.device(given.device)
    dtype = given.dtype or ("bfloat16" if device.type == "cuda" else "float32")
    size, heads = (TINY, TINY_HEADS) if given.tiny else (TRUE, HEADS)
    tokens = min(given.tokens, size.max_tokens // 2) if given.tiny else given.tokens
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_student(size, heads, dtype, device, Path(scratch) / "student")
        _forget(device)
        texts = texts_of(folder, tokens, count=2_000)
        setting = Setting(folder, texts, device, dtype, given.compile, given.clients, given.seconds)
        batches = []
        for batch_tokens in given.batch_tokens:
            batches.append(measured_batches(setting, batch_tokens))
            _forget(device)
    best = best_of(batches)
    fastest = max(found["forward_tokens_per_second"] for found in batches)
    peak, shape = peak_flops(device, torch.bfloat16), size.model
    about = {
        "benchmark": "serve_gpu",
        "tiny": given.tiny,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "dtype": dtype,
        "compiled": given.compile,
        "packed": all(found["packed"] for found in batches),
        "tokens": tokens,
        "forward_share_of_peak": round(2 * _multiplied(shape) * fastest / peak, 3) if peak else None,
    }
    print(
        json.dumps(
            about
            | {name: best[name] for name in ("requests_per_second", "p99_ms", "clients", "batch_tokens")}
            | {"batches": batches}
        )
    )


def _multiplied(shape: dict[str, Any]) -> int:
    """Weights that each token is multiplied with; attention within short texts is left out."""
    hidden, keys = shape["hidden_size"], shape["num_key_value_heads"] / shape["num_attention_heads"]
    attention = hidden * hidden * 2 * (1 + keys)
    return int(shape["num_hidden_layers"] * (attention + 3 * hidden * shape["intermediate_size"]))


def _forget(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
