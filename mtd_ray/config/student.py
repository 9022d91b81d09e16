"""The student, as a recipe describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mtd_ray.config.base import Dimension, Frozen, PositiveInt


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) != len(values):
        raise ValueError(f"the same value stands twice in {list(values)}")
    return values


class StudentConfig(Frozen):
    """The student: a Hugging Face backbone, pooling, and vectors of one or more sizes.

    ``layers`` keeps only these transformer layers (in this order) of the backbone; ``init: random`` takes only the architecture
    from ``model``'s config and draws new weights. A decoder (Qwen2) is made bidirectional.
    ``heads`` are the sizes. ``matryoshka: independent`` gives each a linear layer of its own (arXiv 2412.19048); ``nested`` has one
    linear layer of the largest size, whose prefixes are the smaller ones (arXiv 2205.13147).
    """

    model: str
    revision: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    layers: Annotated[tuple[int, ...], AfterValidator(_distinct)] | None = None
    pooling: Literal["mean", "last", "cls"] = "mean"
    max_tokens: PositiveInt = 512
    heads: Annotated[tuple[Dimension, ...], AfterValidator(_distinct), Field(min_length=1)]
    matryoshka: Literal["independent", "nested"] = "independent"
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
