"""What a service is made of: which students under which names, who may ask, and how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from mtd_ray.config import SecretRef
from mtd_ray.encoder.backends import Backend
from serve.engine.input_ids import Meaning
from serve.engine.limits import Limits

Name = Annotated[str, Field(pattern=r"^[^@\s]+$", max_length=200)]
_STUDENT = "student"  # the folder of a run that holds it
_SHORT = ("folder", "name", "device", "dtype", "backend", "batch_tokens")


def default_name(place: str) -> str:
    """What clients call the model unless told otherwise: the run's name, or the folder's."""
    parts = [part for part in place.rstrip("/").split("/") if part]
    return parts[-2] if len(parts) > 1 and parts[-1] == _STUDENT and parts[-2] != "." else parts[-1]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # a key given by value is not repeated


class VersionOptions(_Options):
    """One of several students behind one name.

    Attributes:
        name: clients may ask for exactly this one as ``MODEL@NAME``.
        folder: as :class:`ModelOptions` has it.
        share: how many of those who ask for ``MODEL`` get this version, in proportion to the other versions' shares.
    """

    name: Name
    folder: str
    share: PositiveFloat = 1.0


class ModelOptions(_Options):
    """One name that clients can ask for.

    Attributes:
        folder: the exported student: a folder on the serving node, or the ``s3://`` URL of a run.
        name: what clients call it; by default the run's or the folder's name.
        versions: instead of ``folder``, several students side by side in each replica; ``name`` must then be given.
        device: a torch device; by default a GPU when the replica asked Ray for one.
        dtype: numbers that the model computes with; vectors are float32 whatever it is.
        backend: ``openvino-int8`` for 8-bit arithmetic on a CPU.
        batch_tokens: tokens of one forward pass; by default what is fastest on the device.
        compiled: fuse what stands between a GPU's matrix products; the replica takes a minute longer to start.
        input_types: which prompt of the folder stands for the ``input_type`` of a request; by default the one of its name.
    """

    folder: str | None = None
    name: Name | None = None
    versions: tuple[VersionOptions, ...] = ()
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    backend: Backend = "torch"
    batch_tokens: PositiveInt | None = None
    compiled: bool = False
    input_types: dict[Literal["query", "document"], str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_one_or_several(self) -> Self:
        if (self.folder is None) == (not self.versions):
            raise ValueError("a model has either a folder, or versions with a folder each")
        if self.versions and self.name is None:
            raise ValueError("a model with versions needs a name")
        _refuse_twice("version", (version.name for version in self.versions))
        return self

    @property
    def called(self) -> str:
        """What clients call it."""
        return self.name or default_name(self.folder or "")

    def students(self) -> Iterator[tuple[str, str]]:
        """(what an answer calls it, its folder) of each student behind the name."""
        if self.folder is not None:
            yield self.called, self.folder
        for version in self.versions:
            yield f"{self.called}@{version.name}", version.folder


class Options(_Options):
    """What the ``args`` of ``config.yaml`` take.

    One student alone is described by ``folder``, ``name``, ``device``, ``dtype``, ``backend`` and ``batch_tokens`` themselves.

    Attributes:
        models: several names in one service; the first answers those who name none.
        keys: where the API keys are, one a line; without them everybody who reaches the port may ask.
        limits: what one request may hold and how long it may wait.
        input_ids: what clients' token ids are: ``own``, of the model's tokenizer, with those refused that are not; ``cl100k_base``,
            OpenAI's, which LangChain sends; or ``refuse``, none are taken.
        cache_mb: memory for the vectors of texts that come again; 0 keeps none.
    """

    folder: str | None = None
    name: Name | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    backend: Backend | None = None
    batch_tokens: PositiveInt | None = None
    models: tuple[ModelOptions, ...] = ()
    keys: SecretRef | None = None
    limits: Limits = Field(default_factory=Limits)
    input_ids: Meaning = "own"
    cache_mb: NonNegativeInt = 0

    @model_validator(mode="after")
    def _is_short_or_long(self) -> Self:
        stray = [field for field in _SHORT if getattr(self, field) is not None]
        if self.models and stray:
            raise ValueError(f"{', '.join(stray)}: belongs to one of the models when there are models")
        if not self.models and self.folder is None:
            raise ValueError("folder: give an exported student, or the s3:// URL of a run (or several models)")
        _refuse_twice("model", (model.called for model in self.served))
        return self

    @property
    def served(self) -> tuple[ModelOptions, ...]:
        """The models, whichever form they were given in."""
        if self.models:
            return self.models
        return (ModelOptions(**{field: value for field in _SHORT if (value := getattr(self, field)) is not None}),)


def _refuse_twice(what: str, names: Iterator[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what} {twice[0]!r} is there twice; give each a name of its own")
