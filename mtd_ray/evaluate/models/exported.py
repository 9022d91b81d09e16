"""A student as it was published in the object store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mtd_ray import layout
from mtd_ray.config import fingerprint
from mtd_ray.evaluate.models.base import Access, Published, TextEncoder
from mtd_ray.fetched import fetched_student
from mtd_ray.publish import published_files

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class ExportedStudent:
    """A published student.

    Attributes:
        published_name: ``organization/model``, what mteb's leaderboard would call it.
        prefix: where in the store it is published.
        sizes: of the vectors that are measured; empty for all of its heads.
        prompts: names of the student's prompts by mteb's keys, see :func:`mtd_ray.evaluate.models.prompts.prompt_of`.
    """

    role: Literal["student", "untrained"]
    published_name: str
    prefix: str
    sizes: tuple[int, ...]
    cpus: float
    gpus: float
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    teacher_names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.role

    @property
    def label(self) -> str:
        return self.role

    def identity(self, store: ObjectStore) -> str:
        """Of the published files, which the model card is not among."""
        return fingerprint(published_files(store, self.prefix))

    def published(self, store: ObjectStore) -> Published:
        """Raises StorageError when it is not in the store."""
        return Published(self.published_name, layout.short(self.identity(store)))

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[TextEncoder]:
        from mtd_ray.encoder import StudentEncoder  # brings PyTorch, which the caller who only sends this does not need
        from mtd_ray.evaluate.models.opened import opened_student

        encoder = StudentEncoder.load(fetched_student(store, self.prefix))
        yield opened_student(encoder, self.published(store), sizes=self.sizes, prompts=self.prompts)
