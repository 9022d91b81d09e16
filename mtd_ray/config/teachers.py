"""The teachers, and what decides the vectors of each."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mtd_ray.config.base import Dimension, Frozen, HttpUrl, Kind, PositiveFloat, PositiveInt, Weight, fingerprint
from mtd_ray.config.catalog import catalog
from mtd_ray.config.secret import SecretRef


class WorkerRange(Frozen):
    """Bounds of a pool of workers that grows and shrinks with the cluster."""

    min: PositiveInt = 1
    max: PositiveInt

    @model_validator(mode="after")
    def _in_order(self) -> WorkerRange:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class TeacherBase(Frozen):
    """What every teacher has: a size, and its part in the target.

    ``weight`` is its share of the vote on how similar two texts are. ``target_dimensions`` makes its stored vectors shorter for the
    target, without harvesting again: ``target_shorten: cut`` keeps the first numbers, for models trained with Matryoshka losses;
    ``fold`` adds up whole chunks of that size.
    """

    dimensions: Dimension
    weight: PositiveFloat = 1.0
    target_dimensions: Dimension | None = None
    target_shorten: Literal["cut", "fold"] = "cut"
    license: str | None = None

    @model_validator(mode="after")
    def _part_is_no_longer(self) -> Self:
        if self.part_dimensions > self.dimensions:
            raise ValueError(f"target_dimensions {self.target_dimensions} is more than the dimensions harvested, {self.dimensions}")
        return self

    @property
    def part_dimensions(self) -> int:
        """Size of this teacher's part of the target."""
        return self.target_dimensions or self.dimensions


class LocalTeacher(TeacherBase):
    """A sentence-transformers model run in this cluster.

    ``model`` is a folder, a hub name, or ``package:NAME/SUBFOLDER`` for a model that ships inside an installed Python package.
    ``shorten`` says how vectors longer than ``dimensions`` become that short: ``cut`` keeps the first numbers, which is right for
    models trained with Matryoshka losses; ``fold`` adds up whole chunks of that size.
    ``backend: openvino-int8`` computes with 8-bit weights and activations on a CPU: several times faster, vectors slightly off.
    ``batch_tokens``: padded tokens of a forward pass; left out, what is fastest: 8,192 on a GPU, on a CPU 256 for each of a
    worker's ``num_cpus`` threads and at least 512. A batch that does not fit into memory is halved.
    ``workers`` is a number, or bounds ``{min, max}``; each works at ``parts_in_flight`` parts at once, so that reading, tokenising
    and writing go on during the forward pass of another part.
    """

    provider: Literal["local"]
    model: str
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    max_tokens: PositiveInt = 512
    batch_tokens: PositiveInt | None = None
    prompts: dict[Kind, str] = Field(default_factory=dict)
    shorten: Literal["cut", "fold"] | None = None
    backend: Literal["torch", "openvino-int8"] = "torch"
    workers: PositiveInt | WorkerRange = 1
    parts_in_flight: PositiveInt = 2
    num_cpus: PositiveFloat = 1.0
    num_gpus: Weight = 0.0

    identity: ClassVar[tuple[str, ...]] = (
        "provider", "model", "revision", "dimensions", "shorten", "dtype", "backend", "max_tokens", "prompts",
    )  # fmt: skip

    @model_validator(mode="after")
    def _remote_code_is_pinned(self) -> LocalTeacher:
        if self.trust_remote_code and not self.revision:
            raise ValueError("trust_remote_code needs a pinned 'revision': the code that runs must be known")
        return self

    @model_validator(mode="after")
    def _int8_is_for_cpus(self) -> LocalTeacher:
        if self.backend == "openvino-int8" and self.dtype != "float32":
            raise ValueError(f"backend openvino-int8 starts from float32 weights; leave dtype {self.dtype} out, or the backend")
        if self.backend == "openvino-int8" and self.num_gpus > 0:
            raise ValueError(
                f"backend openvino-int8 computes on the CPU, so that num_gpus: {self.num_gpus:g} would keep a GPU idle; "
                "leave num_gpus out, or the backend"
            )
        return self


class QuotaConfig(Frozen):
    """What the account may use per minute, in the provider's three currencies; an absent one is unlimited."""

    requests_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None
    inputs_per_minute: PositiveFloat | None = None


class ApiTeacher(TeacherBase):
    """What teachers behind a provider's API have in common.

    Two servers that answer one model name with different vectors must be told apart by ``revision``: the URL is not part of the
    target store's fingerprint, so that moving a server re-harvests nothing.

    ``max_inputs``, ``max_request_tokens``, ``max_tokens``: the provider's caps on texts and tokens of a request, and on tokens of a
    text. A request is filled up to what ``catalog.yaml`` knows of the model or, for models that it does not list, of the provider.
    ``send_dimensions: false`` leaves the size out of the request, for models that have only one.
    ``patience_s``: how long a request waits, over all its repeats, for a server that answered before and then fails, or for a rate
    limit that turns it away. A server that never answered is given up after seven attempts.
    ``usd_per_million_tokens`` overrides the catalogue's price. ``workers`` is a number, or bounds ``{min, max}``; each works at
    ``parts_in_flight`` parts at once and has at most ``requests_in_flight`` requests under way.
    """

    provider: str
    model: str
    revision: str | None = None
    base_url: HttpUrl
    api_key: SecretRef
    send_dimensions: bool = True
    prompts: dict[Kind, str] = Field(default_factory=dict)
    max_inputs: PositiveInt
    max_request_tokens: PositiveInt
    max_tokens: PositiveInt
    quota: QuotaConfig = QuotaConfig()
    timeout_s: PositiveFloat = 60.0
    patience_s: PositiveFloat = 900.0
    usd_per_million_tokens: Weight | None = None
    workers: PositiveInt | WorkerRange = 2
    parts_in_flight: PositiveInt = 4
    requests_in_flight: PositiveInt = 8
    num_cpus: PositiveFloat = 0.25

    identity: ClassVar[tuple[str, ...]] = ("provider", "model", "revision", "dimensions", "prompts")

    @model_validator(mode="before")
    @classmethod
    def _fill_requests(cls, given: Any) -> Any:
        """Models of one provider differ in the tokens of a request, so that its default is the model's and not the class's."""
        if not isinstance(given, dict) or given.get("provider") not in catalog().providers:
            return given
        return {"max_request_tokens": catalog().caps(given["provider"], str(given.get("model"))).request_tokens} | given


class OpenAITeacher(ApiTeacher):
    """A teacher behind OpenAI's embeddings wire format, at OpenAI or at any compatible ``base_url``."""

    provider: Literal["openai"]
    base_url: HttpUrl = "https://api.openai.com/v1"
    api_key: SecretRef = "env:OPENAI_API_KEY"
    max_inputs: PositiveInt = 2_048
    max_tokens: PositiveInt = 8_192


CohereTask = Literal["search_document", "search_query", "classification", "clustering"]
_COHERE_TASKS: dict[Kind, CohereTask] = {"query": "search_query", "passage": "search_document", "sentence": "clustering"}


class CohereTeacher(ApiTeacher):
    """A teacher behind Cohere's v2 embed API.

    ``input_types`` names the task Cohere embeds each kind of text for; ``truncate`` which end of a text over the model's length
    Cohere cuts off, or ``NONE`` to have such a text refused and recorded as failed.
    """

    provider: Literal["cohere"]
    base_url: HttpUrl = "https://api.cohere.com"
    api_key: SecretRef = "env:CO_API_KEY"
    max_inputs: Annotated[int, Field(ge=1, le=96)] = 96
    max_tokens: PositiveInt = 128_000
    input_types: dict[Kind, CohereTask] = Field(default_factory=_COHERE_TASKS.copy)
    truncate: Literal["NONE", "START", "END"] = "END"

    identity: ClassVar[tuple[str, ...]] = (*ApiTeacher.identity, "input_types", "truncate")

    @model_validator(mode="after")
    def _every_kind_has_a_type(self) -> CohereTeacher:
        if missing := sorted({"query", "passage", "sentence"} - self.input_types.keys()):
            raise ValueError(f"input_types: {', '.join(missing)} has no task type; Cohere requires one for every text")
        return self


VoyageTask = Literal["query", "document"]
_VOYAGE_TASKS: dict[Kind, VoyageTask | None] = {"query": "query", "passage": "document", "sentence": None}


class VoyageTeacher(ApiTeacher):
    """A teacher behind Voyage AI's embeddings API.

    ``input_types`` names the task Voyage embeds each kind of text for; null is none. ``truncation: false`` has a text over the
    model's length refused and recorded as failed, instead of cut.
    """

    provider: Literal["voyage"]
    base_url: HttpUrl = "https://api.voyageai.com/v1"
    api_key: SecretRef = "env:VOYAGE_API_KEY"
    max_inputs: Annotated[int, Field(ge=1, le=1_000)] = 1_000
    max_tokens: PositiveInt = 32_000
    input_types: dict[Kind, VoyageTask | None] = Field(default_factory=_VOYAGE_TASKS.copy)
    truncation: bool = True

    identity: ClassVar[tuple[str, ...]] = (*ApiTeacher.identity, "input_types", "truncation")


Teacher = Annotated[LocalTeacher | OpenAITeacher | CohereTeacher | VoyageTeacher, Field(discriminator="provider")]


def teacher_fingerprint(teacher: LocalTeacher | ApiTeacher) -> str:
    """Digest of everything that changes a teacher's vectors; the key of its target store."""
    return fingerprint(teacher.model_dump(mode="json", include=set(teacher.identity)))
