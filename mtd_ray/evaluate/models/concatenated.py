"""All teachers side by side: what the student is taught, as an upper reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mtd_ray import layout
from mtd_ray.config import Teacher, fingerprint
from mtd_ray.evaluate.models.base import About, Access, Asked, Published, TextEncoder
from mtd_ray.evaluate.models.teacher import MeasuredTeacher
from mtd_ray.evaluate.vectors import Vectors, concatenated
from mtd_ray.teachers.shorten import shorten

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class ConcatenatedTeachers:
    """The teachers' parts of the target, concatenated with their weights. Reads the vectors that the teachers left."""

    teachers: tuple[MeasuredTeacher, ...]
    role: Literal["concatenated"] = "concatenated"
    name: str = "all teachers, concatenated"
    label: str = "concatenated"
    cpus: float = 0.5
    gpus: float = 0.0

    @property
    def teacher_names(self) -> tuple[str, ...]:
        return tuple(teacher.name for teacher in self.teachers)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (sum(teacher.config.part_dimensions for teacher in self.teachers),)

    @property
    def prompts(self) -> Mapping[str, str]:
        return {}

    def identity(self, store: ObjectStore) -> str:
        configs = [teacher.config for teacher in self.teachers]
        parts = [[config.weight, config.part_dimensions, config.target_shorten] for config in configs]
        return fingerprint([[teacher.identity(store) for teacher in self.teachers], parts])

    def published(self, store: ObjectStore) -> Published:
        return Published("mtd-ray/concatenated-teachers", layout.short(self.identity(store)))

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[TextEncoder]:
        with ExitStack() as stack:
            encoders = [stack.enter_context(teacher.read(store, access)) for teacher in self.teachers]
            published = self.published(store)
            about = About(published.name, published.revision, None, "float32")
            yield _SideBySide(self.sizes, about, tuple(teacher.config for teacher in self.teachers), encoders)


@dataclass(frozen=True)
class _SideBySide:
    sizes: tuple[int, ...]
    about: About
    configs: tuple[Teacher, ...]
    encoders: Sequence[TextEncoder]
    device: str = "cpu"

    def prompt(self, asked: Asked) -> str:
        """The teachers' prompts, of which those that differ stand one behind the other."""
        return " | ".join(dict.fromkeys(filter(None, (encoder.prompt(asked) for encoder in self.encoders))))

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        parts = [
            shorten(encoder.encode(texts, asked)[config.dimensions], config.part_dimensions, config.target_shorten, normalize=True)
            for config, encoder in zip(self.configs, self.encoders, strict=True)
        ]
        return {self.sizes[0]: concatenated(parts, [config.weight for config in self.configs])}

    def count_tokens(self, texts: Sequence[str]) -> None:
        return None
