"""What the teachers' vectors cost, and what a million embeddings cost from now on: the student's beside each teacher's API."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mtd_ray.config import ApiTeacher, Recipe, catalog, teacher_fingerprint, usd_per_token
from mtd_ray.corpus import Manifest, read_shard
from mtd_ray.evaluate.models.base import Access, Asked, Measured, TextEncoder
from mtd_ray.harvest.totals import Totals, commit_keys, read_commits
from mtd_ray.report.data import EmbeddingCost, HarvestCost
from mtd_ray.targets import TargetStore

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_MILLION = 1_000_000
_SECONDS = 10.0
_SAMPLED_SHARDS, _SAMPLED_TEXTS = 4, 16_384
_FIRST_TEXTS, _MOST_TEXTS, _GROW_BELOW_S = 8, 8_192, 1.0


def harvest_costs(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> tuple[HarvestCost, ...]:
    """What each teacher that the recipe uses took for this corpus, as its commits say.

    Raises:
        StorageError: a part is not committed.
    """
    return tuple(_harvested(store, recipe, manifest, name) for name in recipe.used_teachers)


def _harvested(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str) -> HarvestCost:
    teacher = recipe.teachers[name]
    digest = teacher_fingerprint(teacher)
    targets = TargetStore(store, digest, recipe.harvest.part_rows, teacher.dimensions)
    parts = (part for shard in manifest.shards for part in targets.parts(shard))
    totals = Totals.of(read_commits(store, commit_keys(digest, parts)))
    return HarvestCost(name, teacher.model, totals.rows, totals.failed_rows, totals.tokens, totals.usd)


def embedding_costs(recipe: Recipe, harvested: Sequence[HarvestCost], texts_per_second: float) -> tuple[EmbeddingCost, ...]:
    """The student first, then the teachers behind an API.

    Args:
        texts_per_second: of the student, see :func:`measured_speed`.
    """
    by_name = {cost.teacher: cost for cost in harvested}
    apis = [(name, teacher) for name, teacher in recipe.teachers.items() if isinstance(teacher, ApiTeacher) and name in by_name]
    return (_student(recipe, texts_per_second), *(_api(name, teacher, by_name[name]) for name, teacher in apis))


def _student(recipe: Recipe, texts_per_second: float) -> EmbeddingCost:
    hourly, train = recipe.evaluate.machine_usd_per_hour, recipe.train
    worker = f"{train.num_gpus:g} GPU" if train.num_gpus else f"{train.num_cpus:g} CPU"
    return EmbeddingCost(
        "student",
        hourly / 3600 / texts_per_second * _MILLION,
        texts_per_second,
        f"measured for {_SECONDS:g} s on {worker} of the cluster, at evaluate.machine_usd_per_hour: ${hourly:g}",
    )


def _api(name: str, teacher: ApiTeacher, cost: HarvestCost) -> EmbeddingCost:
    price = usd_per_token(teacher)
    answered = max(cost.rows - cost.failed_rows, 1)
    label, tokens = f"{name} ({teacher.model})", cost.tokens / answered
    if price is None:
        return EmbeddingCost(label, None, None, f"no price is known: give teachers.{name}.usd_per_million_tokens")
    source = f"the catalogue's price of {catalog().as_of}" if teacher.usd_per_million_tokens is None else "the recipe's price"
    how = f"{tokens:.1f} tokens a text at ${price * _MILLION:g} per million tokens, {source}"
    return EmbeddingCost(label, price * tokens * _MILLION, None, how)


def measured_speed(
    store: ObjectStore,
    model: Measured,
    manifest: Manifest,
    *,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Texts of the corpus per second that a model embeds on this machine, loading and its first texts aside."""
    texts = sampled_texts(store, manifest)
    with model.open(store, Access()) as encoder:
        return _speed(encoder, texts, seconds, clock)


def sampled_texts(store: ObjectStore, manifest: Manifest) -> list[str]:
    """Texts of the corpus, evenly from a few of its shards, in random order."""
    count = min(_SAMPLED_SHARDS, len(manifest.shards))
    chosen = [manifest.shards[index * len(manifest.shards) // count] for index in range(count)]
    texts: list[str] = []
    for shard in chosen:
        rows = np.linspace(0, shard.rows - 1, min(shard.rows, _SAMPLED_TEXTS // count), dtype=np.int64)
        texts += read_shard(store, shard)["text"].take(rows).to_pylist()
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))]


def _speed(encoder: TextEncoder, texts: Sequence[str], seconds: float, clock: Callable[[], float]) -> float:
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
