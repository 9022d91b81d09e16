"""A teacher of the recipe, measured like a student."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from mtd_ray.config import Kind, LocalTeacher, Teacher, fingerprint, teacher_fingerprint
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.answered import Answered
from mtd_ray.evaluate.models.base import About, Access, Asked, Published, TextEncoder
from mtd_ray.evaluate.models.kept import KeptVectors
from mtd_ray.evaluate.models.names import published_name
from mtd_ray.evaluate.models.prompts import kind_of
from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.teachers import TeacherClient, open_teacher
from mtd_ray.teachers.base import NOT_FINITE

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_LOG = logging.getLogger(__name__)
_TICK_S = 5.0


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
    def prompts(self) -> Mapping[str, str]:
        """None: a teacher's prompts are the recipe's, by the kind of text."""
        return {}

    @property
    def cpus(self) -> float:
        return self.config.num_cpus

    @property
    def gpus(self) -> float:
        return self.config.num_gpus if isinstance(self.config, LocalTeacher) else 0.0

    def identity(self, store: ObjectStore) -> str:
        return teacher_fingerprint(self.config)

    def published(self, store: ObjectStore) -> Published:
        return _published(self.config)

    def kept(self, store: ObjectStore, texts: Sequence[str], asked: Asked) -> tuple[Vectors, list[int]]:
        """Vectors (rows, size) of texts that were embedded earlier, and the rows of the others, which are zeros. Asks nobody.

        Raises:
            EvaluationError: what is kept is damaged.
        """
        return _TeacherEncoder(self.name, self.config, store, Access()).kept(asked).find(texts)

    def open(self, store: ObjectStore, access: Access) -> AbstractContextManager[TextEncoder]:
        """The model is loaded, or the API asked, when the first text comes of which nothing is kept.

        Raises:
            EvaluationError: when it is closed, if not one of the texts had a vector.
        """
        return self._opened(_TeacherEncoder(self.name, self.config, store, access))

    def read(self, store: ObjectStore, access: Access) -> AbstractContextManager[TextEncoder]:
        """The same for those that read what measurements have left: no text that ever failed is asked for again."""
        return self._opened(_TeacherEncoder(self.name, self.config, store, access, failures_pass=False))

    @contextmanager
    def _opened(self, encoder: _TeacherEncoder) -> Iterator[TextEncoder]:
        try:
            yield encoder
            encoder.tell_failures()
        finally:
            encoder.close()


def _published(config: Teacher) -> Published:
    name = published_name(config.model, config.provider)
    return Published(name, config.revision or teacher_fingerprint(config), config.license)


class _TeacherEncoder:
    """Args: ``failures_pass``: a text is asked for again after a failure that may not come again."""

    def __init__(self, name: str, config: Teacher, store: ObjectStore, access: Access, *, failures_pass: bool = True) -> None:
        self._name, self._config, self._store, self._access = name, config, store, access
        self._failures_pass = failures_pass
        self._kept: dict[str, KeptVectors] = {}
        self._client: TeacherClient | None = None
        self._texts, self._failed, self._last = 0, 0, ""

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self._config.dimensions,)

    @cached_property
    def about(self) -> About:
        config, published = self._config, _published(self._config)
        return About(
            name=published.name,
            revision=published.revision,
            max_tokens=config.max_tokens,
            dtype=config.dtype if isinstance(config, LocalTeacher) else "float32",
            prompts={str(kind): prompt for kind, prompt in config.prompts.items()},
        )

    @property
    def device(self) -> str:
        """The GPU that the recipe gives a local teacher, if the machine has one."""
        if not isinstance(self._config, LocalTeacher) or not self._config.num_gpus:
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def prompt(self, asked: Asked) -> str:
        return self._config.prompts.get(kind_of(asked), "")

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        kept = self.kept(asked)
        vectors, missing = kept.find(texts)
        rows: dict[str, list[int]] = {}
        for row in missing:
            if self._is_asked(kept.failure(texts[row])):
                rows.setdefault(texts[row], []).append(row)
        if rows:
            self._ask(rows, kind_of(asked), kept, vectors)
        failed = [row for row in missing if kept.failure(texts[row]) is not None]
        if failed:
            self._last = (
                f"the last of task {asked.task!r}: {kept.failure(texts[failed[-1]])}; refused texts are asked for again when the "
                f".failed objects in {kept.where} are deleted"
            )
        self._texts, self._failed = self._texts + len(texts), self._failed + len(failed)
        return {self._config.dimensions: vectors}

    def count_tokens(self, texts: Sequence[str]) -> None:
        return None

    def tell_failures(self) -> None:
        """Say how many texts have no vector. Judged over all texts, for a block of few may well hold none that has one.

        Raises:
            EvaluationError: not one has.
        """
        if not self._failed:
            return
        if self._failed == self._texts:
            raise EvaluationError(f"teacher {self._name}: not one of {self._texts:,} texts could be embedded, {self._last}")
        _LOG.warning("teacher %s: %d of %d texts could not be embedded and are vectors of zeros, %s",
                     self._name, self._failed, self._texts, self._last)  # fmt: skip

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _is_asked(self, failure: str | None) -> bool:
        """Whether the teacher is asked for a text without a vector."""
        return failure is None or (failure == NOT_FINITE and self._failures_pass)

    def _ask(self, rows: dict[str, list[int]], kind: Kind, kept: KeptVectors, vectors: Vectors) -> None:
        """Fill in the vectors of texts at their rows, and keep them as they come, also when an error ends the asking."""
        texts, answered = list(rows), Answered(kept)
        try:
            for answer in self._asked_client().answers(texts, [kind] * len(texts), tick_s=_TICK_S):
                if answer is not None:
                    own = [texts[row] for row in answer.rows]
                    answered.add(own, answer.vectors, {texts[row]: why for row, why in answer.failures.items()})
                    for text, vector in zip(own, answer.vectors, strict=True):
                        vectors[rows[text]] = vector
                answered.keep_due()
        finally:
            answered.keep()

    def kept(self, asked: Asked) -> KeptVectors:
        """The vectors that are kept of texts that were embedded for this, or in the same manner."""
        config, kind = self._config, kind_of(asked)
        manner = fingerprint([config.prompts.get(kind, ""), getattr(config, "input_types", {}).get(kind)])
        if manner not in self._kept:
            self._kept[manner] = KeptVectors(self._store, teacher_fingerprint(config), manner, config.dimensions)
        return self._kept[manner]

    def _asked_client(self) -> TeacherClient:
        if self._client is None:
            limiter, budget = self._access.limiters.get(self._name), self._access.budgets.get(self._name)
            self._client = open_teacher(self._name, self._config, limiter=limiter, budget=budget)
        return self._client
