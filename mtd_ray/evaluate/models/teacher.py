"""A teacher of the recipe, measured like a student."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from mtd_ray.config import Kind, LocalTeacher, Teacher, fingerprint, teacher_fingerprint
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.base import About, Access, Asked, TextEncoder
from mtd_ray.evaluate.models.kept import KeptVectors
from mtd_ray.evaluate.models.names import published_name
from mtd_ray.evaluate.models.prompts import kind_of
from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.teachers import TeacherClient, open_teacher

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_LOG = logging.getLogger(__name__)
_TICK_S = 30.0


@dataclass(frozen=True)
class MeasuredTeacher:
    """A teacher of the recipe. Its vectors of evaluation texts are kept, so that no other run pays for them."""

    name: str
    config: Teacher
    role: Literal["teacher"] = "teacher"

    @property
    def label(self) -> str:
        return f"teacher-{self.name}"

    @property
    def teacher_names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.config.dimensions,)

    @property
    def cpus(self) -> float:
        return self.config.num_cpus

    @property
    def gpus(self) -> float:
        return self.config.num_gpus if isinstance(self.config, LocalTeacher) else 0.0

    def identity(self, store: ObjectStore) -> str:
        return teacher_fingerprint(self.config)

    def kept(self, store: ObjectStore, texts: Sequence[str], asked: Asked) -> tuple[Vectors, list[int]]:
        """Vectors (rows, size) of texts that were embedded earlier, and the rows of the others, which are zeros. Asks nobody.

        Raises:
            EvaluationError: what is kept is damaged.
        """
        return _TeacherEncoder(self.name, self.config, store, Access()).kept(asked).find(texts)

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[TextEncoder]:
        """The model is loaded, or the API asked, when the first text comes whose vector is not kept."""
        encoder = _TeacherEncoder(self.name, self.config, store, access)
        try:
            yield encoder
        finally:
            encoder.close()


class _TeacherEncoder:
    def __init__(self, name: str, config: Teacher, store: ObjectStore, access: Access) -> None:
        self._name, self._config, self._store, self._access = name, config, store, access
        self._kept: dict[str, KeptVectors] = {}
        self._client: TeacherClient | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self._config.dimensions,)

    @cached_property
    def about(self) -> About:
        config = self._config
        return About(
            name=published_name(config.model, config.provider),
            revision=config.revision or teacher_fingerprint(config),
            max_tokens=config.max_tokens,
            dtype=config.dtype if isinstance(config, LocalTeacher) else "float32",
            prompts={str(kind): prompt for kind, prompt in config.prompts.items()},
            license=config.license,
        )

    def prompt(self, asked: Asked) -> str:
        return self._config.prompts.get(kind_of(asked), "")

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        """Raises EvaluationError when not one of the texts has a vector."""
        kind = kind_of(asked)
        kept = self.kept(asked)
        vectors, unknown = kept.find(texts)
        if unknown:
            rows: dict[str, list[int]] = {}
            for row in unknown:
                rows.setdefault(texts[row], []).append(row)
            failures = self._ask(list(rows), kind, kept, vectors, rows)
            self._tell(failures, len(texts), asked, none=len(failures) == len(set(texts)))
        return {self._config.dimensions: vectors}

    def count_tokens(self, texts: Sequence[str]) -> None:
        return None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _ask(
        self, texts: list[str], kind: Kind, kept: KeptVectors, vectors: Vectors, rows: Mapping[str, Sequence[int]]
    ) -> dict[str, str]:
        """Fill in the vectors of texts, and keep them as they come, also when an error ends the asking.

        Returns:
            Text → reason, for those that the teacher could not embed.
        """
        failures: dict[str, str] = {}
        waiting: list[str] = []
        try:
            for answer in self._opened().answers(texts, [kind] * len(texts), tick_s=_TICK_S):
                if answer is None:
                    continue
                failures |= {texts[row]: why for row, why in answer.failures.items()}
                for row, vector in zip(answer.rows, answer.vectors, strict=True):
                    vectors[rows[texts[row]]] = vector
                waiting += [texts[row] for row in answer.rows if row not in answer.failures]
                while len(waiting) >= kept.chunk_rows:
                    chunk, waiting = waiting[: kept.chunk_rows], waiting[kept.chunk_rows :]
                    kept.keep(chunk, vectors[[rows[text][0] for text in chunk]])
        finally:
            if waiting:
                kept.keep(waiting, vectors[[rows[text][0] for text in waiting]])
        return failures

    def _tell(self, failures: Mapping[str, str], asked_for: int, asked: Asked, *, none: bool) -> None:
        if not failures:
            return
        reason = next(iter(failures.values()))
        if none:
            raise EvaluationError(f"teacher {self._name}: not one text of task {asked.task!r} could be embedded: {reason}")
        _LOG.warning("teacher %s: %d of %d texts of task %s failed, the first: %s; their vectors are zeros",
                     self._name, len(failures), asked_for, asked.task, reason)  # fmt: skip

    def kept(self, asked: Asked) -> KeptVectors:
        """The vectors that are kept of texts that were embedded for this, or in the same manner."""
        config, kind = self._config, kind_of(asked)
        manner = fingerprint([config.prompts.get(kind, ""), getattr(config, "input_types", {}).get(kind)])
        if manner not in self._kept:
            self._kept[manner] = KeptVectors(self._store, teacher_fingerprint(config), manner, config.dimensions)
        return self._kept[manner]

    def _opened(self) -> TeacherClient:
        if self._client is None:
            limiter, budget = self._access.limiters.get(self._name), self._access.budgets.get(self._name)
            self._client = open_teacher(self._name, self._config, limiter=limiter, budget=budget)
        return self._client
