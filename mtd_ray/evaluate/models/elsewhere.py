"""A model published in an object store that is not the evaluation's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.base import Access, TextEncoder
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

    @property
    def label(self) -> str:
        return key_of(self.name)

    def default_size(self) -> int:
        """What ``modules.json`` names.

        Raises:
            StorageError: nothing is published there.
            EvaluationError: it has no heads.
        """
        store, student = self._place()
        modules = json.loads(store.get(f"{student.prefix}/modules.json"))
        sizes = [path.removeprefix("2_Dense_") for module in modules if (path := str(module["path"])).startswith("2_Dense_")]
        if not sizes or not sizes[0].isdigit():
            raise EvaluationError(f"{self.url} is not an exported student: its modules.json names no head 2_Dense_SIZE")
        return int(sizes[0])

    def identity(self, store: ObjectStore) -> str:
        """Of the published files, as of a run's own student, so that what is known of one is known of the other."""
        own, student = self._place()
        return student.identity(own)

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[TextEncoder]:
        own, student = self._place()
        with student.open(own, access) as encoder:
            yield encoder

    def _place(self) -> tuple[ObjectStore, ExportedStudent]:
        """The store, and the student in it."""
        run = ObjectStore(self.url)
        if run.exists(f"{_STUDENT}/manifest.json"):
            return run, ExportedStudent("student", _STUDENT, (), self.cpus, self.gpus)
        above, _, last = self.url.rstrip("/").rpartition("/")
        return ObjectStore(above), ExportedStudent("student", last, (), self.cpus, self.gpus)
