"""How fast a model embeds texts of the corpus, and on which machine that is."""

from __future__ import annotations

import math
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtd_ray.corpus import Manifest, read_shard
from mtd_ray.evaluate.models.base import Access, Asked, Measured, TextEncoder

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

SECONDS = 10.0
_SAMPLED_SHARDS, _SAMPLED_TEXTS = 4, 16_384
_FIRST_TEXTS, _MOST_TEXTS, _GROW_BELOW_S = 8, 8_192, 1.0
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Speed:
    """``machine``: the name of its GPU or processor; texts were cut at ``max_tokens`` and embedded in ``dtype``."""

    texts_per_second: float
    machine: str
    dtype: str
    max_tokens: int | None


def machine_name(gpus: float) -> str:
    """The GPU of this machine for work that asks for one, else its processor."""
    if gpus:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    text = _CPU_INFO.read_text(encoding="utf-8", errors="replace") if _CPU_INFO.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def measured_speed(
    store: ObjectStore,
    model: Measured,
    manifest: Manifest,
    gpus: float,
    *,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Texts of the corpus per second that a model embeds on this machine, loading and its first texts aside.

    Args:
        gpus: that this process has.
    """
    texts = sampled_texts(store, manifest)
    with model.open(store, Access()) as encoder:
        about = encoder.about
        return Speed(_rate(encoder, texts, seconds, clock), machine_name(gpus), about.dtype, about.max_tokens)


def sampled_texts(store: ObjectStore, manifest: Manifest) -> list[str]:
    """Texts of the corpus, evenly from a few of its shards, in random order."""
    count = min(_SAMPLED_SHARDS, len(manifest.shards))
    chosen = [manifest.shards[index * len(manifest.shards) // count] for index in range(count)]
    texts: list[str] = []
    for shard in chosen:
        rows = np.linspace(0, shard.rows - 1, min(shard.rows, _SAMPLED_TEXTS // count), dtype=np.int64)
        texts += read_shard(store, shard)["text"].take(rows).to_pylist()
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]


def _rate(encoder: TextEncoder, texts: Sequence[str], seconds: float, clock: Callable[[], float]) -> float:
    """Portions grow until they take a second, so that a slow model ends in time and a fast one is not held up by small ones."""
    asked = Asked("", "Retrieval", "document")
    places = np.arange(_MOST_TEXTS)
    encoder.encode(texts[:_FIRST_TEXTS], asked)
    done, portion, started = 0, _FIRST_TEXTS, clock()
    while (now := clock()) - started < seconds:
        encoder.encode([texts[place] for place in (done + places[:portion]) % len(texts)], asked)
        done += portion
        if clock() - now < _GROW_BELOW_S:
            portion = min(2 * portion, _MOST_TEXTS)
    return done / max(now - started, math.ulp(1.0))
