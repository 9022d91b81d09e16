"""What a recipe measures and what it requires must fit together: a gate on a task that is not measured is never passed."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator

from mtd_ray.config.nearest import nearest
from mtd_ray.config.recipe import Recipe
from mtd_ray.config.sources import DocstringSource

HELDOUT = "heldout"
"""Name of the task made of the corpus's held-out pairs."""

# Types of tasks on texts, as mteb names them.
_TYPES = (
    "BitextMining", "Classification", "Clustering", "InstructionReranking", "InstructionRetrieval", "MultilabelClassification",
    "PairClassification", "Reranking", "Retrieval", "STS", "Summarization",
)  # fmt: skip
_SIDES = ("query", "document")


def broken_evaluation_rules(recipe: Recipe) -> Iterator[str]:
    """One line per fault: key, what is wrong, what would be right."""
    yield from _something(recipe)
    yield from _checkpoints(recipe)
    yield from _names(recipe)
    yield from _prompts(recipe)
    yield from _required_heads(recipe)
    yield from _required_shares(recipe)
    yield from _required_tasks(recipe)


def pair_names(recipe: Recipe) -> tuple[str, ...]:
    """Tasks that the corpus has pairs for."""
    return (*([HELDOUT] if _has_heldout(recipe) else ()), *recipe.evaluate.pairs)


def _has_heldout(recipe: Recipe) -> bool:
    return recipe.evaluate.heldout and isinstance(recipe.corpus.source, DocstringSource)


def _named(recipe: Recipe) -> tuple[str, ...]:
    """Tasks whose names the recipe tells; those of benchmarks only mteb knows."""
    return (*pair_names(recipe), *recipe.evaluate.tasks, *recipe.evaluate.own)


def _something(recipe: Recipe) -> Iterator[str]:
    evaluate = recipe.evaluate
    if evaluate.heldout and not _named(recipe) and not evaluate.benchmarks:
        yield (
            "evaluate.pairs: a run needs something to be measured on, and only docstrings have held-out pairs of their own; name a "
            "Parquet file with the columns query and passage, or tasks that mteb knows in evaluate.tasks, or write "
            "evaluate.heldout: false to do without"
        )
    if evaluate.data is not None and not evaluate.tasks and not evaluate.benchmarks:
        yield "evaluate.data: nothing is read from it without evaluate.tasks or evaluate.benchmarks; name some, or leave it out"


def _checkpoints(recipe: Recipe) -> Iterator[str]:
    if not recipe.train.evaluate_checkpoints:
        return
    if not (recipe.evaluate.pairs or _has_heldout(recipe)):
        yield (
            "train.evaluate_checkpoints: there are no evaluation pairs to measure checkpoints on; name some in evaluate.pairs, or "
            "leave this out"
        )
    if recipe.train.checkpoint_every is None:
        yield (
            "train.evaluate_checkpoints: without train.checkpoint_every there are no checkpoints between the ends of the stages; "
            "write train.checkpoint_every: 500, or leave this out"
        )


def _names(recipe: Recipe) -> Iterator[str]:
    for name, times in Counter(_named(recipe)).items():
        if times > 1:
            yield f"evaluate: {name!r} names {times} tasks; every task needs a name of its own"
    for key in ("benchmarks", "forms"):
        given = getattr(recipe.evaluate, key)
        if len(set(given)) != len(given):
            yield f"evaluate.{key}: the same one stands twice in {list(given)}"


def _prompts(recipe: Recipe) -> Iterator[str]:
    for key, chosen in recipe.evaluate.prompts.items():
        if chosen and chosen not in recipe.student.prompts:
            yield f"evaluate.prompts.{key}: student.prompts has no {chosen!r}; {nearest(chosen, recipe.student.prompts)}"
        known = (*_TYPES, *_named(recipe), *_SIDES)
        name, _, side = key.rpartition("-")
        if name in known and key not in known and (sides := difflib.get_close_matches(side, _SIDES, n=1)):
            if side not in _SIDES:
                yield f"evaluate.prompts.{key}: no text would get this prompt; did you mean '{name}-{sides[0]}'?"
            continue
        name, side = (name, side) if side in _SIDES else (key, "")
        # Any other name may be that of a task in a benchmark.
        if name not in known and (close := difflib.get_close_matches(name, known, n=1, cutoff=0.8)):
            meant = "-".join(filter(None, (close[0], side)))
            yield f"evaluate.prompts.{key}: no text would get this prompt; did you mean {meant!r}?"


def _required_heads(recipe: Recipe) -> Iterator[str]:
    sizes = recipe.student.heads
    for size in recipe.require.heads:
        if size not in sizes:
            yield f"require.heads.{size}: the student has no such head; it has {list(sizes)}"
        elif size == max(sizes):
            yield f"require.heads.{size}: this is the largest head, with which the others are compared; name a smaller one"


def _required_shares(recipe: Recipe) -> Iterator[str]:
    require = recipe.require
    for key in ("retained", "gap_closed"):
        if getattr(require, key) is not None and not recipe.evaluate.baselines:
            yield f"require.{key}: teachers are not measured with evaluate.baselines: false; leave one of the two out"
    asks = require.retained is not None or require.gap_closed is not None or require.heads
    if asks and not _named(recipe) and not recipe.evaluate.benchmarks:
        yield "require: nothing is measured that could be required; name tasks in evaluate.tasks or evaluate.pairs"


def _required_tasks(recipe: Recipe) -> Iterator[str]:
    for task, score in recipe.require.tasks.items():
        if task not in _named(recipe) and not recipe.evaluate.benchmarks:
            yield f"require.tasks.{task}: this task is not measured; {nearest(task, _named(recipe))}"
        elif 0 < score < 1:
            yield f"require.tasks.{task}: scores are from 0 to 100, so {score:g} asks for nothing; write {100 * score:g}"
