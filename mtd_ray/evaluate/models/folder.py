"""Any model in a folder or on the hub: what a student is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtd_ray import layout
from mtd_ray.config import fingerprint
from mtd_ray.evaluate.models.base import Access, Published, Role, TextEncoder
from mtd_ray.evaluate.models.names import key_of, published_name

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class ModelFolder:
    """A sentence-transformers model; one in the published layout is measured at the size of each of its heads.

    Attributes:
        model: a folder, a hub name, or ``package:NAME/SUBFOLDER``.
        name: how it is called in results.
        revision: of a hub model.
        sizes: of the vectors that are measured; empty for all that it gives.
        prompts: names of its prompts by mteb's keys, see :func:`mtd_ray.evaluate.models.prompts.prompt_of`.
        max_tokens: texts are cut here, or at the model's own limit when that is lower.
    """

    model: str
    name: str
    revision: str | None = None
    role: Role = "model"
    sizes: tuple[int, ...] = ()
    cpus: float = 1.0
    gpus: float = 0.0
    dtype: str = "float32"
    max_tokens: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    teacher_names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return key_of(self.name)

    def identity(self, store: ObjectStore) -> str:
        """Of the files that decide the vectors, dtype and limit; a hub model is brought to this machine for it."""
        from mtd_ray.encoder.files import content_of, local_copy

        files = content_of(local_copy(self.model, self.revision))
        return fingerprint([files, self.dtype, self.max_tokens])

    def published(self, store: ObjectStore) -> Published:
        """A folder's revision is of its content."""
        return Published(published_name(self.model, "local"), self.revision or layout.short(self.identity(store)))

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[TextEncoder]:
        from mtd_ray.encoder import Encoder, StudentEncoder  # brings PyTorch
        from mtd_ray.encoder.files import local_copy
        from mtd_ray.encoder.heads import head_sizes
        from mtd_ray.evaluate.models.opened import opened_plain, opened_student

        folder, published = local_copy(self.model, self.revision), self.published(store)
        if head_sizes(folder):
            student = StudentEncoder.load(folder, dtype=self.dtype, max_tokens=self.max_tokens)
            yield opened_student(student, published, sizes=self.sizes, prompts=self.prompts, dtype=self.dtype)
        else:
            encoder = Encoder.load(str(folder), max_tokens=self.max_tokens, dtype=self.dtype)
            yield opened_plain(encoder, published, prompts=self.prompts, dtype=self.dtype)
