"""The types of a recipe: frozen, strict, unknown keys refused.

One YAML file describes a whole run. These classes hold no behaviour beyond checking themselves; `mtd_ray.config.load` reads the
file and turns what pydantic finds into messages for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mtd_ray.config.base import Frozen, HttpUrl, Name, PositiveFloat, PositiveInt, fingerprint
from mtd_ray.config.evaluate import EvaluateConfig, ExportConfig, Requirements
from mtd_ray.config.sources import CorpusConfig
from mtd_ray.config.stages import StageConfig
from mtd_ray.config.student import StudentConfig
from mtd_ray.config.teachers import Teacher, teacher_fingerprint
from mtd_ray.config.train import TrainConfig


class StorageConfig(Frozen):
    """Where everything is written: ``s3://bucket/prefix`` or an absolute local folder.

    Credentials come from the machine (the AWS credential chain), never from the recipe.
    """

    url: str = Field(min_length=1)
    endpoint: HttpUrl | None = None
    region: str | None = None


def _storage_from_url(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


class HarvestConfig(Frozen):
    """How harvesting is cut up and what it may cost.

    ``part_rows`` rows are asked, written, committed and re-done together. ``budget_usd`` caps what all API teachers of the recipe
    may cost together over the life of their target stores, earlier harvests into these stores included; a price must then be known
    for each of them.
    """

    part_rows: PositiveInt = 512
    budget_usd: PositiveFloat | None = None
    max_failed_share: Annotated[float, Field(ge=0, le=1)] = 0.01


class Recipe(Frozen):
    """A whole run."""

    name: Name
    storage: Annotated[StorageConfig, BeforeValidator(_storage_from_url)]
    seed: Annotated[int, Field(ge=0)] = 0
    corpus: CorpusConfig
    teachers: dict[Name, Teacher] = Field(min_length=1)
    harvest: HarvestConfig = HarvestConfig()
    student: StudentConfig
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    require: Requirements = Requirements()

    def stage_teachers(self, stage: StageConfig) -> tuple[str, ...]:
        """Names of the teachers in a stage's target, in the order in which their vectors are concatenated: the recipe's."""
        return tuple(name for name in self.teachers if not stage.teachers or name in stage.teachers)

    def target_dimensions(self, names: Sequence[str]) -> int:
        """Size of the fused target of these teachers: their parts added up."""
        return sum(self.teachers[name].part_dimensions for name in names)

    def head_layout(self, stage: StageConfig, head: int) -> tuple[tuple[str, int], ...] | None:
        """Whose numbers stand where in the target that a head is compared with: teacher and size, one after the other.

        A head as large as the stage's own target is compared with that. One as large as the target of all the teachers that the
        recipe uses keeps a place for each of them; the places of those that are not in the stage are free, and so a later stage
        that adds a teacher finds the earlier ones where they were. With ``target: cut`` every place is cut in the same proportion.

        Returns:
            None where the head is compared with no such target: it has no pointwise loss, or one with ``target: pca``.

        Raises:
            ValueError: the head's size fits no target, or cannot be cut into whole numbers; says why.
        """
        losses = stage.heads[head]
        if not losses.is_pointwise or losses.target == "pca":
            return None
        if losses.target == "cut":
            return self._cut_layout(head)
        for names in (self.stage_teachers(stage), self.used_teachers):
            if self.target_dimensions(names) == head:
                return tuple((name, self.teachers[name].part_dimensions) for name in names)
        raise ValueError(f"a head of size {head} cannot be compared to this stage's target of size {self._sizes(stage)}")

    def _cut_layout(self, head: int) -> tuple[tuple[str, int], ...]:
        whole = self.target_dimensions(self.used_teachers)
        sizes = {name: self.teachers[name].part_dimensions * head / whole for name in self.used_teachers}
        broken = [name for name, size in sizes.items() if not size.is_integer()]
        if broken or head > whole:
            raise ValueError(f"{head} of {whole} numbers is no whole share of every teacher's")
        return tuple((name, int(size)) for name, size in sizes.items())

    def _sizes(self, stage: StageConfig) -> str:
        names = self.stage_teachers(stage)
        parts = " + ".join(f"{name} {self.teachers[name].part_dimensions}" for name in names)
        return f"{self.target_dimensions(names)} ({parts})"

    @property
    def used_teachers(self) -> tuple[str, ...]:
        """Names of the teachers that at least one stage learns from, in the recipe's order."""
        used = {name for stage in self.stages for name in self.stage_teachers(stage)}
        return tuple(name for name in self.teachers if name in used)

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the student: corpus, teachers and their parts in the target, student, stages, seed, dtype."""
        what = self.model_dump(
            mode="json",
            # Of the evaluation, what is kept out of the corpus.
            include={"seed": True, "corpus": True, "student": True, "stages": True, "evaluate": {"heldout", "pairs"}},
            exclude={"student": {"license", "base_model_name"}},
        )
        for stage, told in zip(self.stages, what["stages"], strict=True):
            told["teachers"] = self.stage_teachers(stage)
        what["dtype"] = self.train.dtype
        what["sampler"] = [self.train.shuffle_shards, self.train.length_window]
        what["teachers"] = [[name, *self._part(name)] for name in self.used_teachers]
        return fingerprint(what)

    def _part(self, name: str) -> tuple[str, float, int, str | None]:
        """What decides a teacher's part of the target."""
        teacher = self.teachers[name]
        size = teacher.part_dimensions
        return teacher_fingerprint(teacher), teacher.weight, size, teacher.target_shorten if size < teacher.dimensions else None

    @property
    def run_name(self) -> str:
        """The run's name: the recipe's name and fingerprint."""
        return f"{self.name}-{self.fingerprint[:12]}"
