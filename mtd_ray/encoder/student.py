"""A student in the published layout: one backbone, several heads, one forward pass for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mtd_ray.encoder.encoder import Encoder, Vectors
from mtd_ray.encoder.files import local_copy
from mtd_ray.encoder.heads import head_sizes, load_head, place_of_head
from mtd_ray.errors import MtdError


class StudentEncoder:
    """Texts → vectors of any of the student's sizes. Vectors are not normalised; they are meant for cosine similarity.

    Args:
        encoder: of the whole model.
        place: which of its modules is a head; those before it are run once, those behind it for each size.
        heads: size → the module that takes the head's place.
    """

    def __init__(self, encoder: Encoder, place: int, heads: dict[int, nn.Module]) -> None:
        self._encoder = encoder
        self._heads = heads
        modules = list(encoder.model)
        self._backbone, self._behind = modules[:place], modules[place + 1 :]

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        max_tokens: int | None = None,
        dtype: str = "float32",
        device: str | None = None,
        batch_tokens: int | None = None,
    ) -> StudentEncoder:
        """Load a folder in the published layout: one that :func:`mtd_ray.export.export_student` wrote, or anybody else.

        Args:
            model: a folder, a hub name or ``package:NAME/SUBFOLDER``.
            revision: of a hub model.
            max_tokens, dtype, device, batch_tokens: as for :meth:`Encoder.load <mtd_ray.encoder.Encoder.load>`.

        Raises:
            MtdError: the folder is missing, damaged, or has no heads; or it names code that is not trusted.
        """
        folder = local_copy(str(model), revision)
        sizes, place = head_sizes(folder), place_of_head(str(folder))
        if not sizes or place is None:
            lacks = "head folder 2_Dense_SIZE" if not sizes else "head in modules.json"
            raise MtdError(f"{folder} is not an exported student: it has no {lacks}")
        encoder = Encoder.load(str(folder), max_tokens=max_tokens, dtype=dtype, device=device, batch_tokens=batch_tokens)
        heads = {size: load_head(str(folder), size).to(encoder.model.device, getattr(torch, dtype)) for size in sizes}
        return cls(encoder, place, heads)

    @property
    def heads(self) -> tuple[int, ...]:
        """Available sizes, ascending."""
        return tuple(self._heads)

    @property
    def device(self) -> torch.device:
        """Where the student computes."""
        return self._encoder.device

    @property
    def default_head(self) -> int:
        """The size that ``modules.json`` names: what a plain load of the folder gives."""
        return self._encoder.dimension

    @property
    def prompts(self) -> dict[str, str]:
        """The folder's named prompts, without empty ones."""
        return self._encoder.prompts

    @property
    def max_tokens(self) -> int:
        """Where texts are cut, in tokens."""
        return self._encoder.max_tokens

    @property
    def parameters(self) -> int:
        """How many numbers a plain load of the folder has: backbone and default head."""
        return self._encoder.parameters

    def encode(self, texts: Sequence[str], *, heads: Sequence[int] | None = None, prompt: str = "") -> dict[int, Vectors]:
        """Vectors (rows, size) for each size asked for, from one pass of the backbone.

        Args:
            heads: sizes; None is the default head alone.

        Raises:
            MtdError: the student has no head of that size.
        """
        sizes = tuple(heads) if heads is not None else (self.default_head,)
        if unknown := [size for size in sizes if size not in self._heads]:
            raise MtdError(f"this student has no head of size {unknown[0]}; it has {', '.join(map(str, self.heads))}")
        if not texts:
            return {size: np.zeros((0, size), np.float32) for size in sizes}

        def forward(features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            for module in self._backbone:
                features = module(features)
            return [self._through_head(features, size) for size in sizes]

        vectors, _ = self._encoder.run(texts, forward, prompt=prompt)
        return dict(zip(sizes, vectors, strict=True))

    def count_tokens(self, texts: Sequence[str], prompt: str = "", *, cut: bool = True) -> list[int]:
        """Tokens of each text as the student reads it: prompt and special tokens included, and cut at the maximum or not."""
        return self._encoder.count_tokens(texts, prompt, cut=cut)

    def _through_head(self, features: dict[str, torch.Tensor], size: int) -> torch.Tensor:
        features = dict(features)  # a head writes its result over its input
        for module in (self._heads[size], *self._behind):
            features = module(features)
        return features["sentence_embedding"]
