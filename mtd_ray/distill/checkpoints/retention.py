"""Which checkpoints stay: the newest, and the best one by what it scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.objects import ObjectStore


def kept(positions: Sequence[Position], scores: Mapping[Position, float], newest: int) -> set[Position]:
    """The ``newest`` last positions, and of those with a score the best one; of equal ones the later."""
    best = max(scores, key=lambda position: (scores[position], position), default=None)
    return {*sorted(positions)[-newest:], *([] if best is None else [best])}


def sweep(store: ObjectStore, run: str, newest: int) -> dict[Position, dict[str, Any]]:
    """Delete the checkpoints that do not stay, and what attempts that ended before their commit left.

    Only right after a commit, by whoever committed it: another attempt that is still being written would be taken for a left-over.

    Returns:
        What the checkpoints scored (:func:`read_scores`).
    """
    checkpoints = Checkpoints(store, run)
    found = read_scores(store, run)
    scores = {position: score["mean"] for position, score in found.items()}
    stays = {
        layout.run_checkpoint(run, position.stage, position.step): checkpoints.read(position).attempt
        for position in kept(checkpoints.positions(), scores, newest)
    }
    gone = [info.key for info in store.list(layout.run_checkpoints(run)) if not _stays(info.key, stays)]
    # Commits first: a checkpoint that is half deleted must not look whole.
    for key in sorted(gone, key=lambda key: layout.position_of_commit(key) is None):
        store.delete(key)
    return found


def _stays(key: str, stays: Mapping[str, str]) -> bool:
    for folder, attempt in stays.items():
        if key.startswith(f"{folder}/"):
            inside = key.removeprefix(f"{folder}/")
            return "/" not in inside or inside.startswith(f"{attempt}/")
    return False


def read_scores(store: ObjectStore, run: str) -> dict[Position, dict[str, Any]]:
    """What committed checkpoints scored: ``mean``, by which they are compared, and ``scores`` by evaluation set."""
    found = {
        position: store.find(layout.checkpoint_score(run, position.stage, position.step))
        for position in Checkpoints(store, run).positions()
    }
    return {position: json.loads(score) for position, score in found.items() if score is not None}
