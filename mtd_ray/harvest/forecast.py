"""Reading storage to say what a harvest will cost: what is left, and how many tokens that is. No teacher is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

from mtd_ray.config import ApiTeacher, Recipe, Teacher, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.harvest.claims import spent_usd
from mtd_ray.harvest.cost import Forecast, Work, cost_of
from mtd_ray.harvest.plan import require_teachers
from mtd_ray.harvest.totals import Totals, read_commits
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, committed_parts, pending_parts
from mtd_ray.teachers.tokenizer import ExactTokens, token_count

_Item = TypeVar("_Item")

_SAMPLED_SHARDS = 8
_SAMPLED_ROWS = 20_000
_SAMPLED_COMMITS = 256
# Between English (4.2) and code (3.3) with published embedding tokenizers.
_BYTES_PER_TOKEN = 4.0


def forecast(store: ObjectStore, recipe: Recipe, manifest: Manifest, *, teachers: Sequence[str] | None = None) -> Forecast:
    """What harvesting the rest of a corpus will cost.

    Tokens are counted with the provider's tokenizer where it can be had, on all texts or on a sample of them; else taken from what
    earlier harvests of the teacher came to; else estimated from bytes. The result says which.

    Args:
        teachers: names to restrict it to; all by default.

    Raises:
        RecipeError: the recipe has no teacher of such a name.
    """
    names = tuple(dict.fromkeys(recipe.teachers if teachers is None else teachers))
    require_teachers(recipe, names)
    spent = spent_usd(store, recipe)
    costs = []
    for name in names:
        teacher = recipe.teachers[name]
        work = _work(store, teacher, manifest, recipe.harvest.part_rows)
        costs.append(cost_of(name, teacher, work, spent.get(name, 0.0)))
    others = sum(usd for name, usd in spent.items() if name not in names)
    return Forecast(costs, recipe.harvest.budget_usd, others)


def _work(store: ObjectStore, teacher: Teacher, manifest: Manifest, part_rows: int) -> Work:
    fingerprint = teacher_fingerprint(teacher)
    pending = pending_parts(store, fingerprint, manifest, part_rows)
    rows = sum(part.rows for part in pending)
    per_row, counted = _tokens_per_row(store, teacher, fingerprint, pending, rows)
    return Work(rows, manifest.rows, round(per_row * rows), counted)


def _tokens_per_row(store: ObjectStore, teacher: Teacher, fingerprint: str, pending: list[Part], rows: int) -> tuple[float, str]:
    if not pending:
        return 0.0, "none"
    exact = token_count(teacher) if isinstance(teacher, ApiTeacher) else None
    if not isinstance(exact, ExactTokens):
        keys = committed_parts(store, fingerprint).values()
        before = Totals.of(islice(read_commits(store, keys), _SAMPLED_COMMITS))
        if before.tokens:
            return before.tokens / before.rows, f"as in {before.rows:,} rows harvested before"
    tokens, sampled = 0.0, 0
    for text in _sampled_texts(store, teacher, pending):
        count = exact.of(text) if isinstance(exact, ExactTokens) else len(text.encode()) / _BYTES_PER_TOKEN
        tokens, sampled = tokens + min(count, teacher.max_tokens), sampled + 1
    of = "all rows" if sampled == rows else f"{sampled:,} of {rows:,} rows"
    how = "counted with the provider's tokenizer" if isinstance(exact, ExactTokens) else "estimated at 4 bytes a token"
    return tokens / sampled, f"{how} in {of}"


def _sampled_texts(store: ObjectStore, teacher: Teacher, pending: list[Part]) -> Iterator[str]:
    """Texts of pending parts with their prompts, evenly from a few shards."""
    by_shard: dict[Shard, list[Part]] = {}
    for part in pending:
        by_shard.setdefault(part.shard, []).append(part)
    shards = _evenly(list(by_shard), _SAMPLED_SHARDS)
    for shard in shards:
        table = read_shard(store, shard)
        rows = [row for part in by_shard[shard] for row in range(part.start, part.stop)]
        chosen = table.take(_evenly(rows, _SAMPLED_ROWS // len(shards)))
        for text, kind in zip(chosen["text"].to_pylist(), chosen["kind"].to_pylist(), strict=True):
            yield teacher.prompts.get(kind, "") + text


def _evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]
