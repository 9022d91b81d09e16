"""The types of a recipe: frozen, strict, unknown keys refused.

One YAML file describes a whole run. These classes hold no behaviour beyond checking themselves; `mtd_ray.config.load` reads the
file and turns what pydantic finds into messages for a person.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mtd_ray.config.base import Dimension, Frozen, HttpUrl, Name, PositiveFloat, PositiveInt, Weight, fingerprint
from mtd_ray.config.sources import CorpusConfig
from mtd_ray.config.teachers import Teacher, teacher_fingerprint


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


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) != len(values):
        raise ValueError(f"the same value stands twice in {list(values)}")
    return values


class StudentConfig(Frozen):
    """The student: a Hugging Face backbone, pooling, and one linear head per output size.

    ``layers`` keeps only these transformer layers (in this order) of the backbone; ``init: random`` takes only the architecture
    from ``model``'s config and draws new weights. A decoder (Qwen2) is made bidirectional.
    """

    model: str
    revision: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    layers: Annotated[tuple[int, ...], AfterValidator(_distinct)] | None = None
    pooling: Literal["mean", "last", "cls"] = "mean"
    max_tokens: PositiveInt = 512
    heads: Annotated[tuple[Dimension, ...], AfterValidator(_distinct), Field(min_length=1)]
    default_head: Dimension | None = None
    prompts: dict[str, str] = Field(default_factory=dict)
    base_model_name: str | None = None
    license: str | None = None

    @model_validator(mode="after")
    def _default_head_exists(self) -> StudentConfig:
        if self.default_head is not None and self.default_head not in self.heads:
            raise ValueError(f"default_head {self.default_head} is not one of the heads {list(self.heads)}")
        return self

    @property
    def export_head(self) -> int:
        """The head that a plain load of the exported folder uses."""
        return self.default_head or max(self.heads)


class LossWeights(Frozen):
    """Weights of one head's losses (arXiv 2412.19048: 10, 200 and 20)."""

    cosine: Weight = 0.0
    similarity: Weight = 0.0
    ranking: Weight = 0.0

    @property
    def any(self) -> bool:
        return self.cosine > 0 or self.similarity > 0 or self.ranking > 0


class LastLayers(Frozen):
    """Train the heads and the last ``last`` layers of the backbone."""

    last: PositiveInt


class StageConfig(Frozen):
    """One stage: which teachers, what is trainable, which heads and losses, for how long."""

    name: Name
    teachers: tuple[str, ...] | None = None
    trainable: Literal["heads", "all"] | LastLayers = "all"
    heads: dict[int, LossWeights] = Field(min_length=1)
    ranking_margin: Weight = 0.015
    lr: PositiveFloat
    steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: Weight = 0.01
    clip_norm: PositiveFloat = 1.0


class TrainConfig(Frozen):
    """Resources and numerics of training; none of it may change the student beyond float tolerance, except ``dtype``."""

    workers: PositiveInt = 1
    num_cpus: PositiveFloat = 1.0
    num_gpus: Weight = 0.0
    zero_stage: Literal[0, 1, 2, 3] = 2
    dtype: Literal["float32", "bfloat16"] = "float32"
    micro_batch_tokens: PositiveInt = 16_384
    shuffle_shards: PositiveInt = 8
    length_window: PositiveInt = 16
    checkpoint_every: PositiveInt | None = None
    max_failures: Annotated[int, Field(ge=0)] = 3
    log_every: PositiveInt = 10


class EvaluateConfig(Frozen):
    """Evaluation: retrieval over the held-out pairs of the corpus, and Parquet files of one's own.

    Only a corpus of docstrings has held-out pairs. ``heldout: false`` without ``pairs``: the student is not measured.
    ``pairs`` is a Parquet file with the columns ``query`` and ``passage``; its texts are removed from the corpus.
    """

    heldout: bool = True
    pairs: dict[Name, str] = Field(default_factory=dict)
    baselines: bool = True


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
    evaluate: EvaluateConfig = EvaluateConfig()

    def stage_teachers(self, stage: StageConfig) -> tuple[str, ...]:
        """Names of the teachers in a stage's target, in the order in which their vectors are concatenated."""
        return stage.teachers or tuple(self.teachers)

    def target_dimensions(self, stage: StageConfig) -> int:
        """Size of a stage's fused target: the teachers' sizes added up."""
        return sum(self.teachers[name].dimensions for name in self.stage_teachers(stage))

    @property
    def used_teachers(self) -> tuple[str, ...]:
        """Names of the teachers that at least one stage learns from, in the recipe's order."""
        used = {name for stage in self.stages for name in self.stage_teachers(stage)}
        return tuple(name for name in self.teachers if name in used)

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the student: corpus, used teachers' identities and weights, student, stages, seed, dtype."""
        what = self.model_dump(
            mode="json",
            include={"seed": True, "corpus": True, "student": True, "stages": True, "evaluate": True},
            exclude={"evaluate": {"baselines"}, "student": {"license", "base_model_name"}},
        )
        what["dtype"] = self.train.dtype
        what["sampler"] = [self.train.shuffle_shards, self.train.length_window]
        what["teachers"] = [
            [name, teacher_fingerprint(self.teachers[name]), self.teachers[name].weight] for name in self.used_teachers
        ]
        return fingerprint(what)

    @property
    def run_name(self) -> str:
        """The run's name: the recipe's name and fingerprint."""
        return f"{self.name}-{self.fingerprint[:12]}"
