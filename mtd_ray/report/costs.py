"""What the teachers' vectors cost, and what a million embeddings cost from now on: the student's beside each teacher's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtd_ray.config import ApiTeacher, Recipe, Teacher, catalog, teacher_fingerprint, usd_per_token
from mtd_ray.corpus import Manifest
from mtd_ray.harvest.totals import Totals, commit_keys, read_commits
from mtd_ray.report.data import EmbeddingCost, HarvestCost
from mtd_ray.report.speed import SECONDS, Speed
from mtd_ray.targets import TargetStore

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_MILLION = 1_000_000
_HOURLY = "evaluate.machine_usd_per_hour"


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
    known = totals.usd or _is_own(teacher)
    return HarvestCost(name, teacher.model, totals.rows, totals.failed_rows, totals.tokens, totals.usd if known else None)


def _is_own(teacher: Teacher) -> bool:
    """Whether nobody charges for its tokens. What an API of an unknown price took was counted as nothing, which it was not."""
    return not isinstance(teacher, ApiTeacher) or usd_per_token(teacher) == 0


def embedding_costs(recipe: Recipe, harvested: Sequence[HarvestCost], speed: Speed) -> tuple[EmbeddingCost, ...]:
    """The student first, then the teachers behind an API.

    Args:
        speed: of the student, see :func:`mtd_ray.report.speed.measured_speed`.
    """
    by_name = {cost.teacher: cost for cost in harvested}
    apis = [(name, teacher) for name, teacher in recipe.teachers.items() if isinstance(teacher, ApiTeacher) and name in by_name]
    return (_student(recipe, speed), *(_api(name, teacher, by_name[name]) for name, teacher in apis))


def _student(recipe: Recipe, speed: Speed) -> EmbeddingCost:
    hourly, train = recipe.evaluate.machine_usd_per_hour, recipe.train
    worker = f"{train.num_gpus:g} GPU" if train.num_gpus else f"{train.num_cpus:g} CPU"
    cut = "" if speed.max_tokens is None else f", texts cut at {speed.max_tokens:,} tokens"
    how = f"measured for {SECONDS:g} s on one worker of {worker} ({speed.machine}), {speed.dtype}{cut}"
    if hourly is None:
        return EmbeddingCost("student", "student", None, speed.texts_per_second, f"{how}; for dollars, give {_HOURLY}")
    usd = hourly / 3600 / speed.texts_per_second * _MILLION
    return EmbeddingCost("student", "student", usd, speed.texts_per_second, f"{how}; at {_HOURLY}: ${hourly:g}")


def _api(name: str, teacher: ApiTeacher, cost: HarvestCost) -> EmbeddingCost:
    price = usd_per_token(teacher)
    tokens = cost.tokens / max(cost.rows - cost.failed_rows, 1)

    def told(usd: float | None, how: str) -> EmbeddingCost:
        return EmbeddingCost("teacher", f"{name} ({teacher.model})", usd, None, how)

    if price is None:
        return told(None, f"no price is known: give teachers.{name}.usd_per_million_tokens")
    if price == 0:
        return told(None, "an own server, whose price is 0: its machine is not counted")
    if not tokens:
        return told(None, "it did not say how many tokens the texts have")
    source = f"the catalogue's price of {catalog().as_of}" if teacher.usd_per_million_tokens is None else "the recipe's price"
    how = f"{tokens:.1f} tokens a text at ${price * _MILLION:g} per million tokens, {source}"
    return told(price * tokens * _MILLION, how)
