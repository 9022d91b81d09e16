"""What is measured: anything that gives vectors of texts, in one or more sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.teachers import Budget, Limiter

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

Role = Literal["student", "untrained", "teacher", "concatenated", "model"]
Side = Literal["query", "document"] | None


@dataclass(frozen=True)
class Asked:
    """What a text is embedded for: a task's name and type, as mteb gives them, and the side it stands on; None: both are alike."""

    task: str
    type: str
    side: Side


@dataclass(frozen=True)
class Access:
    """What API teachers are asked with, by their names: the limiter of each one's account, and the cap on dollars."""

    limiters: Mapping[str, Limiter] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)


@dataclass(frozen=True)
class About:
    """What a reader needs to know of a model to get the same scores again.

    ``name`` and ``revision`` as in :class:`Published`; ``prompts`` are the model's own, by their names.
    """

    name: str
    revision: str
    max_tokens: int | None
    dtype: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None


@dataclass(frozen=True)
class Published:
    """What mteb's leaderboard calls a model: ``organization/model``, and its licence as its owner writes it."""

    name: str
    revision: str
    license: str | None = None


class TextEncoder(Protocol):
    """A model that is loaded, or a client that is open."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the vectors it gives, ascending."""
        ...

    @property
    def about(self) -> About: ...

    @property
    def device(self) -> str:
        """Where its vectors may be compared, as PyTorch names it: where it computes; ``cpu`` for what is not computed here."""
        ...

    def prompt(self, asked: Asked) -> str:
        """What is put before a text that is embedded for this; recorded with every score."""
        ...

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        """Vectors (rows, size) float32 of each size, from one pass; a row of zeros where a text could not be embedded."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Tokens of each text without a prompt and without being cut; None where nobody here can count them."""
        ...


class Measured(Protocol):
    """Something with a score: light to hold and to send.

    Attributes:
        label: unique in an evaluation and fit for a key.
        cpus, gpus: what one measurement takes to run.
        teacher_names: whom of the recipe it may ask.
        sizes: sizes of its vectors, ascending; empty where only the loaded model knows.
        prompts: names of its prompts that are chosen, by mteb's keys, see :func:`mtd_ray.evaluate.models.prompts.prompt_of`.
    """

    @property
    def role(self) -> Role: ...
    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def cpus(self) -> float: ...
    @property
    def gpus(self) -> float: ...
    @property
    def teacher_names(self) -> tuple[str, ...]: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def prompts(self) -> Mapping[str, str]: ...

    def identity(self, store: ObjectStore) -> str:
        """Digest of everything that decides its vectors but which prompts are chosen: weights, its own prompts, maximum length,
        dtype.
        """
        ...

    def published(self, store: ObjectStore) -> Published:
        """What it is called where its results are published; models of the same identity may be called differently."""
        ...

    def open(self, store: ObjectStore, access: Access) -> AbstractContextManager[TextEncoder]:
        """Load it, or connect to it.

        Raises:
            MtdError: it is not there, or cannot be asked.
        """
        ...
