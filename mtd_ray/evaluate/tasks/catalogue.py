"""What mteb knows: its tasks and benchmarks by name, as far as they must be known before one is opened.

Importing mteb takes five seconds of a processor, which a job that finds all its scores kept should not wait for. So what it knows
is written once, per version of mteb, into the user's cache folder.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from mtd_ray.config.nearest import nearest
from mtd_ray.encoder.cache import cache_folder
from mtd_ray.errors import EvaluationError

_LOG = logging.getLogger(__name__)
_FORMAT = 1
Kind = Literal["rows", "retrieval", "aggregate"]


@dataclass(frozen=True)
class Selection:
    """A task, and which of its subsets (languages) and splits count."""

    name: str
    subsets: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """One of mteb's tasks.

    Attributes:
        kind: how its data lies: ``rows`` of one table per split, ``retrieval`` in documents, queries and judgements; an
            ``aggregate`` has none of its own.
        transforms: it rearranges its data after loading.
        train: the split that a classifier is trained on.
        parts: of an aggregate, the tasks whose mean it is.
    """

    name: str
    type: str
    modalities: tuple[str, ...]
    revision: str
    subsets: tuple[str, ...]
    splits: tuple[str, ...]
    kind: Kind
    multilingual: bool
    transforms: bool
    train: str | None
    parts: tuple[Selection, ...]

    def of(self, selection: Selection) -> Known:
        """The task with fewer subsets or splits."""
        return replace(self, subsets=selection.subsets, splits=selection.splits)


@dataclass(frozen=True)
class Catalogue:
    """Everything mteb knows, by name; a benchmark is found by its aliases too."""

    tasks: Mapping[str, Known]
    benchmarks: Mapping[str, tuple[Selection, ...]]

    def task(self, name: str) -> Known:
        """EvaluationError, with the nearest name, when mteb knows no such task."""
        if name not in self.tasks:
            raise EvaluationError(f"mteb {mteb_version()} knows no task {name!r}; {_hint(name, self.tasks)}")
        return self.tasks[name]

    def benchmark(self, name: str) -> tuple[Selection, ...]:
        """EvaluationError, with the nearest name, when mteb knows no such benchmark."""
        if name not in self.benchmarks:
            raise EvaluationError(f"mteb {mteb_version()} knows no benchmark {name!r}; {_hint(name, self.benchmarks)}")
        return self.benchmarks[name]


def _hint(name: str, known: Mapping[str, Any]) -> str:
    by_lower = {word.lower(): word for word in known}
    if name.lower() in by_lower:
        return f"did you mean {by_lower[name.lower()]!r}?"
    hint = nearest(name, known)
    return hint if hint.startswith("did you mean") else "mteb.get_tasks() and mteb.get_benchmarks() list what there is"


def mteb_version() -> str:
    """The installed version. EvaluationError when mteb is not installed."""
    try:
        return version("mteb")
    except PackageNotFoundError:
        raise EvaluationError("measuring needs the 'mteb' package: pip install 'mtd-ray[evaluate]'") from None


@cache
def catalogue() -> Catalogue:
    """What the installed mteb knows, from the user's cache folder where an earlier call left it.

    Raises:
        EvaluationError: mteb is not installed.
    """
    path = cache_folder() / f"mteb-{mteb_version()}-{_FORMAT}.json"
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        _LOG.info("   listing the tasks of mteb %s (once)", mteb_version())
    from mtd_ray.evaluate.tasks.listing import list_benchmarks, list_tasks

    found = Catalogue(list_tasks(), list_benchmarks())
    _keep(path, found)
    return found


def _keep(path: Path, found: Catalogue) -> None:
    text = json.dumps(asdict(found))
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:  # a home that cannot be written costs seconds, not the evaluation
        _LOG.debug("%s cannot be written: %s", path, error)


def _from_json(tree: dict[str, Any]) -> Catalogue:
    tasks = {name: Known(**{key: _restored(value) for key, value in fields.items()}) for name, fields in tree["tasks"].items()}
    return Catalogue(tasks, {name: _restored(selections) for name, selections in tree["benchmarks"].items()})


def _restored(value: Any) -> Any:
    """JSON's lists as the tuples they were, of selections where they hold objects."""
    if not isinstance(value, list):
        return value
    return tuple(
        Selection(**{key: _restored(part) for key, part in entry.items()}) if isinstance(entry, dict) else entry for entry in value
    )
