"""The types of a recipe: frozen, strict, unknown keys refused.

One YAML file describes a whole run. These classes hold no behaviour beyond checking themselves; `mtd_ray.config.load` reads the
file and turns what pydantic finds into messages for a person.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mtd_ray.config.secret import SecretRef

Kind = Literal["query", "passage", "sentence"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
Dimension = Annotated[int, Field(ge=1, le=65_536)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Base of every recipe type: immutable, no coercion, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def fingerprint(value: Any) -> str:
    """Stable hex digest (sha256) of a JSON value; raises TypeError on anything JSON cannot hold exactly."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class StorageConfig(Frozen):
    """Where everything is written: ``s3://bucket/prefix`` or an absolute local folder.

    Credentials come from the machine (the AWS credential chain), never from the recipe.
    """

    url: str = Field(min_length=1)
    endpoint: str | None = None
    region: str | None = None


def _storage_from_url(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


class ParquetSource(Frozen):
    """Parquet files: one file, a folder, or an ``s3://`` prefix."""

    format: Literal["parquet"]
    path: str
    text_column: str = "text"
    kind_column: str | None = None
    kind: Kind = "passage"


class JsonlSource(Frozen):
    """JSON Lines files (``.jsonl``, ``.jsonl.gz``): one file, a folder, or an ``s3://`` prefix."""

    format: Literal["jsonl"]
    path: str
    text_column: str = "text"
    kind_column: str | None = None
    kind: Kind = "passage"


class HuggingFaceSource(Frozen):
    """A dataset of the Hugging Face hub, or a folder written by ``Dataset.save_to_disk``."""

    format: Literal["huggingface"]
    path: str
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    text_column: str = "text"
    kind: Kind = "passage"


class DocstringSource(Frozen):
    """Docstrings of the Python packages installed here: real technical English that every machine has.

    Summary lines become queries and bodies become passages. Whole modules are held out for evaluation.
    """

    format: Literal["docstrings"]
    packages: tuple[str, ...] = ()
    heldout_pairs: PositiveInt = 500


Source = Annotated[ParquetSource | JsonlSource | HuggingFaceSource | DocstringSource, Field(discriminator="format")]


class CorpusConfig(Frozen):
    """The texts, and how they are cleaned.

    ``long_texts`` decides about texts over ``max_chars`` characters: ``error`` refuses the corpus and names the row, ``cut``
    keeps the beginning, ``drop`` leaves the text out.
    """

    source: Source
    limit: PositiveInt | None = None
    shard_rows: PositiveInt = 10_000
    max_chars: PositiveInt = 20_000
    long_texts: Literal["error", "cut", "drop"] = "error"


class LocalTeacher(Frozen):
    """A sentence-transformers model run in this cluster.

    ``model`` is a folder, a hub name, or ``package:NAME/SUBFOLDER`` for a model that ships inside an installed Python package.
    """

    provider: Literal["local"]
    model: str
    revision: str | None = None
    trust_remote_code: bool = False
    dimensions: Dimension
    weight: PositiveFloat = 1.0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    max_tokens: PositiveInt = 512
    batch_tokens: PositiveInt = 8_192
    prompts: dict[Kind, str] = Field(default_factory=dict)
    workers: PositiveInt = 1
    num_cpus: PositiveFloat = 1.0
    num_gpus: Weight = 0.0
    license: str | None = None

    identity: ClassVar[tuple[str, ...]] = (
        "provider", "model", "revision", "dimensions", "dtype", "max_tokens", "prompts",
    )  # fmt: skip

    @model_validator(mode="after")
    def _remote_code_is_pinned(self) -> LocalTeacher:
        if self.trust_remote_code and not self.revision:
            raise ValueError("trust_remote_code needs a pinned 'revision': the code that runs must be known")
        return self


class QuotaConfig(Frozen):
    """What the account may use per minute, in the provider's three currencies; an absent one is unlimited."""

    requests_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None
    inputs_per_minute: PositiveFloat | None = None


class OpenAITeacher(Frozen):
    """A teacher behind OpenAI's embeddings wire format, at OpenAI or at any compatible ``base_url``.

    Two servers that answer one model name with different vectors must be told apart by ``revision``: the URL is not part of the
    target store's fingerprint, so that moving a server re-harvests nothing.
    """

    provider: Literal["openai"]
    model: str
    revision: str | None = None
    base_url: str = "https://api.openai.com/v1"
    api_key: SecretRef = "env:OPENAI_API_KEY"
    dimensions: Dimension
    send_dimensions: bool = True
    weight: PositiveFloat = 1.0
    prompts: dict[Kind, str] = Field(default_factory=dict)
    max_inputs: PositiveInt = 2_048
    max_request_tokens: PositiveInt = 300_000
    max_tokens: PositiveInt = 8_192
    quota: QuotaConfig = QuotaConfig()
    timeout_s: PositiveFloat = 60.0
    workers: PositiveInt = 2
    num_cpus: PositiveFloat = 0.25
    license: str | None = None

    identity: ClassVar[tuple[str, ...]] = ("provider", "model", "revision", "dimensions", "prompts")


Teacher = Annotated[LocalTeacher | OpenAITeacher, Field(discriminator="provider")]


def teacher_fingerprint(teacher: LocalTeacher | OpenAITeacher) -> str:
    """Digest of everything that changes a teacher's vectors; the key of its target store."""
    return fingerprint(teacher.model_dump(mode="json", include=set(teacher.identity)))


class HarvestConfig(Frozen):
    """How harvesting is cut up: ``part_rows`` rows are asked, written, committed and re-done together."""

    part_rows: PositiveInt = 512
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
    def fingerprint(self) -> str:
        """Digest of what decides the student: corpus, teachers' identities and weights, student, stages, seed, dtype."""
        what = self.model_dump(mode="json", include={"seed", "corpus", "student", "stages", "evaluate"})
        what["dtype"] = self.train.dtype
        what["sampler"] = [self.train.shuffle_shards, self.train.length_window]
        what["teachers"] = {name: [teacher_fingerprint(teacher), teacher.weight] for name, teacher in self.teachers.items()}
        what["teacher_order"] = list(self.teachers)
        return fingerprint(what)

    @property
    def run_name(self) -> str:
        """The run's name: the recipe's name and fingerprint."""
        return f"{self.name}-{self.fingerprint[:12]}"
