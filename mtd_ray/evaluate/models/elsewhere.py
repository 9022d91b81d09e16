"""A model published in an object store that is not the evaluation's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.base import Access, Published, TextEncoder
from mtd_ray.evaluate.models.exported import ExportedStudent
from mtd_ray.evaluate.models.names import key_of
from mtd_ray.objects import ObjectStore

_STUDENT = "student"


@dataclass(frozen=True)
class PublishedModel:
    """A student at an ``s3://`` URL: of its run, or of the student itself. Credentials are those of the machine.

    Attributes:
        name: how it is called in results.
    """

    url: str
    name: str
    cpus: float = 1.0
    gpus: float = 0.0
    role: Literal["model"] = "model"
    sizes: tuple[int, ...] = ()
    teacher_names: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        return key_of(self.name)

    def default_size(self) -> int:
        """What ``modules.json`` names.

        Raises:
            StorageError: nothing is published there.
            EvaluationError: it has no heads.
        """
        from mtd_ray.encoder.heads import size_of_head  # brings PyTorch

        store, student = self._place()
        size = size_of_head(json.loads(store.get(f"{student.prefix}/modules.json")))
        if size is None:
            raise EvaluationError(f"{self.url} is not an exported student: its modules.json names no head 2_Dense_SIZE")
        return size

    def identity(self, store: ObjectStore) -> str:
        """Of the published files, as of a run's own student, so that what is known of one is known of the other."""
        own, student = self._place()
        return student.identity(own)

    def published(self, store: ObjectStore) -> Published:
        own, student = self._place()
        return student.published(own)

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[TextEncoder]:
        own, student = self._place()
        with student.open(own, access) as encoder:
            yield encoder

    def _place(self) -> tuple[ObjectStore, ExportedStudent]:
        """The store, and the student in it."""
        store, prefix = ObjectStore(self.url), _STUDENT
        if not store.exists(f"{prefix}/manifest.json"):
            above, _, prefix = self.url.rstrip("/").rpartition("/")
            store = ObjectStore(above)
        return store, ExportedStudent("student", f"local/{self.label}", prefix, (), self.cpus, self.gpus)
