"""What is measured: students, teachers, and all teachers side by side. Each gives its vectors of a task's texts, per size."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mtd_ray import layout
from mtd_ray.config import LocalTeacher, Teacher, fingerprint, teacher_fingerprint
from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.texts import RetrievalTexts
from mtd_ray.evaluate.vectors import TaskVectors, concatenated
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import fetch_folder, published_files
from mtd_ray.teachers import Budget, Limiter, open_teacher

_LOG = logging.getLogger(__name__)

Role = Literal["student", "untrained", "teacher", "concatenated"]


@dataclass(frozen=True)
class Access:
    """What API teachers are asked with, by their names: the limiter of each one's account, and the cap on dollars."""

    limiters: Mapping[str, Limiter] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)


_UNLIMITED = Access()


class Measured(Protocol):
    """Something with a score. ``label`` is unique in a run and fit for a key; ``cpus`` and ``gpus`` are what it takes to run;
    ``teacher_names``: whom it may ask."""

    @property
    def role(self) -> Role: ...
    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def cpus(self) -> float: ...
    @property
    def gpus(self) -> float: ...
    @property
    def teacher_names(self) -> tuple[str, ...]: ...

    def identity(self, store: ObjectStore) -> str:
        """Digest of everything that decides its vectors."""
        ...

    def vectors(
        self, store: ObjectStore, pairs_sha256: str, texts: RetrievalTexts, access: Access = _UNLIMITED
    ) -> dict[int, TaskVectors]:
        """Its vectors of a task's texts, by size; ``pairs_sha256`` is the content hash of the pairs the texts are from."""
        ...


@dataclass(frozen=True)
class ExportedStudent:
    """A published student; ``sizes`` None measures its default head only."""

    role: Role
    prefix: str
    sizes: tuple[int, ...] | None
    cpus: float
    gpus: float
    teacher_names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.role

    @property
    def label(self) -> str:
        return self.role

    def identity(self, store: ObjectStore) -> str:
        return fingerprint([published_files(store, self.prefix), list(self.sizes or ())])

    def vectors(
        self, store: ObjectStore, pairs_sha256: str, texts: RetrievalTexts, access: Access = _UNLIMITED
    ) -> dict[int, TaskVectors]:
        with tempfile.TemporaryDirectory() as scratch:
            fetch_folder(store, self.prefix, Path(scratch) / "student")
            encoder = StudentEncoder.load(Path(scratch) / "student")
        return student_vectors(encoder, texts, self.sizes or (encoder.default_head,))


def student_vectors(encoder: StudentEncoder, texts: RetrievalTexts, sizes: Sequence[int]) -> dict[int, TaskVectors]:
    """A student's vectors of a task's texts, by size, each text with the prompt of its kind."""
    queries = encoder.encode(texts.queries, heads=sizes, prompt=encoder.prompts.get("query", ""))
    passages = encoder.encode(texts.passages, heads=sizes, prompt=encoder.prompts.get("passage", ""))
    return {size: TaskVectors(queries[size], passages[size]) for size in sizes}


@dataclass(frozen=True)
class MeasuredTeacher:
    """A teacher of the recipe. Its vectors of evaluation texts are kept, so that no other run pays for them."""

    name: str
    config: Teacher
    role: Role = "teacher"

    @property
    def label(self) -> str:
        return f"teacher-{self.name}"

    @property
    def teacher_names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def cpus(self) -> float:
        return self.config.num_cpus

    @property
    def gpus(self) -> float:
        return self.config.num_gpus if isinstance(self.config, LocalTeacher) else 0.0

    def identity(self, store: ObjectStore) -> str:
        return teacher_fingerprint(self.config)

    def vectors(
        self, store: ObjectStore, pairs_sha256: str, texts: RetrievalTexts, access: Access = _UNLIMITED
    ) -> dict[int, TaskVectors]:
        key = layout.teacher_evaluation(teacher_fingerprint(self.config), pairs_sha256)
        if (stored := store.find(key)) is not None:
            found = self._read(stored, texts, f"{store.url}/{key}")
        else:
            found, failed = self._embed(texts, access)
            if not failed:  # a failure may pass; the next evaluation asks again
                store.put(key, save({"queries": found.queries, "passages": found.passages}))
        return {self.config.dimensions: found}

    def _read(self, stored: bytes, texts: RetrievalTexts, where: str) -> TaskVectors:
        expected = {"queries": len(texts.queries), "passages": len(texts.passages)}
        try:
            arrays = load(stored)
        except SafetensorError as error:
            raise EvaluationError(f"{where} is damaged ({error}): delete it and evaluate again") from None
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != {name: (rows, self.config.dimensions) for name, rows in expected.items()}:
            raise EvaluationError(f"{where} holds {shapes}, not vectors of task {texts.name!r}: delete it and evaluate again")
        return TaskVectors(arrays["queries"], arrays["passages"])

    def _embed(self, texts: RetrievalTexts, access: Access) -> tuple[TaskVectors, int]:
        """The vectors, and how many texts failed."""
        kinds = ["query"] * len(texts.queries) + ["passage"] * len(texts.passages)
        client = open_teacher(self.name, self.config, limiter=access.limiters.get(self.name), budget=access.budgets.get(self.name))
        try:
            answer = client.embed([*texts.queries, *texts.passages], kinds)  # type: ignore[arg-type]
        finally:
            client.close()
        if answer.failures:
            row, reason = next(iter(answer.failures.items()))
            _LOG.warning("teacher %s: %d of %d texts of task %s failed, text %d: %s; they count as not found",
                         self.name, len(answer.failures), texts.count, texts.name, row, reason)  # fmt: skip
        if len(answer.failures) == texts.count:
            raise EvaluationError(f"teacher {self.name}: not one text of task {texts.name!r} could be embedded: {reason}")
        queries, passages = np.split(answer.vectors, [len(texts.queries)])
        return TaskVectors(queries, passages), len(answer.failures)


@dataclass(frozen=True)
class ConcatenatedTeachers:
    """All teachers side by side: what the student is taught, as an upper reference. Reads the vectors the teachers left."""

    teachers: tuple[MeasuredTeacher, ...]
    role: Role = "concatenated"
    name: str = "all teachers, concatenated"
    label: str = "concatenated"
    cpus: float = 0.5
    gpus: float = 0.0

    @property
    def teacher_names(self) -> tuple[str, ...]:
        return tuple(teacher.name for teacher in self.teachers)

    def identity(self, store: ObjectStore) -> str:
        return fingerprint([[teacher.identity(store), teacher.config.weight] for teacher in self.teachers])

    def vectors(
        self, store: ObjectStore, pairs_sha256: str, texts: RetrievalTexts, access: Access = _UNLIMITED
    ) -> dict[int, TaskVectors]:
        parts = [teacher.vectors(store, pairs_sha256, texts, access)[teacher.config.dimensions] for teacher in self.teachers]
        fused = concatenated(parts, [teacher.config.weight for teacher in self.teachers])
        return {fused.size: fused}
