"""The teachers, and what decides the vectors of each."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from mtd_ray.config.base import Dimension, Frozen, HttpUrl, Kind, PositiveFloat, PositiveInt, Weight, fingerprint
from mtd_ray.config.secret import SecretRef


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
    base_url: HttpUrl = "https://api.openai.com/v1"
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
