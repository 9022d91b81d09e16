"""Models of this machine that are loaded, as encoders of a task's texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtd_ray.evaluate.models.base import About, Asked, Published
from mtd_ray.evaluate.models.prompts import prompt_of
from mtd_ray.evaluate.vectors import Vectors

if TYPE_CHECKING:
    from mtd_ray.encoder import Encoder, StudentEncoder


@dataclass(frozen=True)
class OpenedModel:
    """A loaded model; see :class:`mtd_ray.evaluate.models.base.TextEncoder`.

    Attributes:
        embed: texts and the prompt before them → vectors (rows, size) by size.
        count: texts → tokens of each.
        chosen: which prompt a text gets, see :func:`mtd_ray.evaluate.models.prompts.prompt_of`.
        default_prompt: of texts for which nothing is chosen and the model has no prompt.
    """

    sizes: tuple[int, ...]
    about: About
    device: str
    embed: Callable[[Sequence[str], str], dict[int, Vectors]]
    count: Callable[[Sequence[str]], list[int]]
    chosen: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""

    def prompt(self, asked: Asked) -> str:
        return prompt_of(self.about.prompts, self.chosen, asked, default=self.default_prompt)

    def encode(self, texts: Sequence[str], asked: Asked) -> dict[int, Vectors]:
        return self.embed(texts, self.prompt(asked))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.count(texts)


def opened_student(
    encoder: StudentEncoder,
    published: Published,
    *,
    sizes: Sequence[int] = (),
    prompts: Mapping[str, str] | None = None,
    dtype: str = "float32",
) -> OpenedModel:
    """A loaded student.

    Args:
        published: what it is called.
        sizes: of its vectors; all of its heads where there are none.
        prompts: names of the student's prompts by mteb's keys, see :func:`mtd_ray.evaluate.models.prompts.prompt_of`.
    """
    asked = tuple(sorted(sizes)) or encoder.heads
    about = About(published.name, published.revision, encoder.max_tokens, dtype, encoder.prompts, parameters=encoder.parameters)
    return OpenedModel(
        sizes=asked,
        about=about,
        device=str(encoder.device),
        embed=lambda texts, prompt: encoder.encode(texts, heads=asked, prompt=prompt),
        count=lambda texts: encoder.count_tokens(texts, cut=False),
        chosen=dict(prompts or {}),
    )


def opened_plain(
    encoder: Encoder, published: Published, *, prompts: Mapping[str, str] | None = None, dtype: str = "float32"
) -> OpenedModel:
    """A loaded sentence-transformers model without heads of several sizes."""
    size = encoder.dimension
    own = encoder.prompts
    return OpenedModel(
        sizes=(size,),
        about=About(published.name, published.revision, encoder.max_tokens, dtype, own, parameters=encoder.parameters),
        device=str(encoder.device),
        embed=lambda texts, prompt: {size: encoder.encode(texts, prompt=prompt)},
        count=lambda texts: encoder.count_tokens(texts, cut=False),
        chosen=dict(prompts or {}),
        default_prompt=own.get(encoder.model.default_prompt_name or "", ""),
    )
