"""Which checkpoints stay: the newest, the best one by what it scored, and one that is being scored.

Other attempts may be writing while a sweep deletes: a driver that was started twice, a worker that does not know yet that it was
replaced. So what has no commit goes only when nothing was added to it for longer than any attempt takes from its last file to its
commit. All times are the store's.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectInfo, ObjectStore

_LOG = logging.getLogger(__name__)

_LONGEST_ATTEMPT = timedelta(hours=2)
_LONGEST_SCORING = timedelta(hours=1)

# Key of a checkpoint's folder → attempt → its objects; those beside the attempts under "".
_Folders = Mapping[str, Mapping[str, list[ObjectInfo]]]


def best_of(scores: Mapping[Position, float]) -> Position | None:
    """The position with the highest score, of equal ones the later; None when there is none."""
    return max(scores, key=lambda position: (scores[position], position), default=None)


def kept(positions: Iterable[Position], scores: Mapping[Position, float], newest: int) -> set[Position]:
    """The ``newest`` last positions, and the best one of those with a score."""
    best = best_of(scores)
    return {*sorted(positions)[-newest:], *([] if best is None else [best])}


def sweep(store: ObjectStore, run: str, newest: int, *, finished: bool = False) -> dict[Position, dict[str, Any]]:
    """Delete the checkpoints that do not stay, and what attempts that ended before their commit left.

    Args:
        finished: the run's last checkpoint is committed, so that nobody needs what others may still be writing or measuring.

    Returns:
        What the checkpoints scored (:func:`read_scores`).

    Raises:
        StorageError: an object cannot be read or deleted.
    """
    folders = _listed(store, run)
    scores = read_scores(store, run)
    commits = _commits(folders)
    if not commits:
        return scores
    now = max(info.modified for info in commits.values())
    stays = kept(commits, {position: score["mean"] for position, score in scores.items()}, newest)
    if not finished:
        stays |= {position for position in commits if _is_being_scored(folders, run, position, now)}
    removed = commits.keys() - stays
    # Commits first: a checkpoint that is half deleted must not look whole.
    for position in removed:
        store.delete(commits[position].key)
    own = {_folder(run, position): _attempt(store, run, position) for position in commits.keys() & stays}
    ended_before = datetime.max.replace(tzinfo=UTC) if finished else now - _LONGEST_ATTEMPT
    for key in _left_over(folders, {_folder(run, position) for position in removed}, own, ended_before):
        store.delete(key)
    return scores


def sweep_finished(store: ObjectStore, run: str, newest: int) -> None:
    """Delete what a finished run does not need; for whoever finds it finished, as its last sweep may have been interrupted.

    Storage that refuses is logged and no error: the run is complete without this.
    """
    try:
        sweep(store, run, newest, finished=True)
    except MtdError as error:
        _LOG.warning("old checkpoints of %s were not all deleted: %s", run, error)


def read_scores(store: ObjectStore, run: str) -> dict[Position, dict[str, Any]]:
    """What committed checkpoints scored: ``mean``, by which they are compared, and ``scores`` by evaluation set.

    A score that cannot be read, or that another attempt's weights got, is none.
    """
    found = {}
    for position in Checkpoints(store, run).positions():
        score = _read(store, layout.checkpoint_score(run, position.stage, position.step))
        if _is_score(score) and score["attempt"] == _attempt(store, run, position):
            found[position] = score
    return found


def _folder(run: str, position: Position) -> str:
    return layout.run_checkpoint(run, position.stage, position.step)


def _listed(store: ObjectStore, run: str) -> _Folders:
    root = layout.run_checkpoints(run)
    folders: dict[str, dict[str, list[ObjectInfo]]] = defaultdict(lambda: defaultdict(list))
    for info in store.list(root):
        folder, _, inside = info.key.removeprefix(f"{root}/").partition("/")
        folders[f"{root}/{folder}"][inside.rpartition("/")[0]].append(info)
    return folders


def _commits(folders: _Folders) -> dict[Position, ObjectInfo]:
    beside = [info for attempts in folders.values() for info in attempts.get("", [])]
    return {Position(*position): info for info in beside if (position := layout.position_of_commit(info.key)) is not None}


def _is_being_scored(folders: _Folders, run: str, position: Position, now: datetime) -> bool:
    marker = layout.checkpoint_scoring(run, position.stage, position.step)
    beside = folders[_folder(run, position)][""]
    return any(info.key == marker and now - info.modified < _LONGEST_SCORING for info in beside)


def _left_over(folders: _Folders, removed: set[str], own: Mapping[str, str | None], ended_before: datetime) -> Iterator[str]:
    """Keys to delete.

    Args:
        removed: folders whose commit was deleted just now.
        own: the attempts that the other commits name, by folder.
        ended_before: an attempt that wrote nothing since then is not written any more.
    """
    for folder, attempts in folders.items():
        if folder in removed:
            found = [info for objects in attempts.values() for info in objects]
        elif folder not in own:
            found = [*attempts.get("", []), *_ended(attempts, ended_before)]
        elif own[folder] is not None:
            found = [*_ended({attempt: held for attempt, held in attempts.items() if attempt != own[folder]}, ended_before)]
        else:
            found = []  # of a damaged commit nobody knows which attempt is its own
        yield from (info.key for info in found)


def _ended(attempts: Mapping[str, list[ObjectInfo]], before: datetime) -> Iterator[ObjectInfo]:
    """Objects of the attempts that wrote nothing since ``before``, without those beside them."""
    for attempt, found in attempts.items():
        if attempt and max(info.modified for info in found) < before:
            yield from found


def _attempt(store: ObjectStore, run: str, position: Position) -> str | None:
    """Whose files a commit names; None when the commit is gone or damaged."""
    attempt = _read(store, layout.checkpoint_commit(run, position.stage, position.step)).get("attempt")
    return attempt if isinstance(attempt, str) else None


def _is_score(score: Mapping[str, Any]) -> bool:
    kinds = {"attempt": str, "mean": float, "scores": dict}
    return all(isinstance(score.get(name), kind) for name, kind in kinds.items())


def _read(store: ObjectStore, key: str) -> dict[str, Any]:
    """A JSON object; an empty one when there is none or it is damaged."""
    try:
        value = json.loads(store.find(key) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
