"""A student in the published layout: one backbone, several heads, one forward pass for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mtd_ray.encoder.encoder import Encoder, Vectors
from mtd_ray.encoder.files import local_copy
from mtd_ray.encoder.heads import are_nested, head_sizes, load_head, place_of_head
from mtd_ray.encoder.tokens import Tokens
from mtd_ray.errors import MtdError
from mtd_ray.student.backbone import transformer_layers


class StudentEncoder:
    """Texts → vectors of any of the student's sizes. Vectors are not normalised; they are meant for cosine similarity.

    Args:
        encoder: of the whole model.
        place: which of its modules is a head; those before it are run once, those behind it for each size.
        heads: size → the module that takes the head's place.

    Attributes:
        nested: whether smaller heads are the first rows of larger ones; then every prefix of a vector is a size too.
    """

    def __init__(self, encoder: Encoder, place: int, heads: dict[int, nn.Module]) -> None:
        self._encoder = encoder
        self._heads = heads
        self._backbone, self._behind = encoder.modules[:place], encoder.modules[place + 1 :]
        self.nested = are_nested(heads)

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
        backend: str = "torch",
        packed: bool | None = None,
        headless: bool = False,
    ) -> StudentEncoder:
        """Load a folder in the published layout: one that :func:`mtd_ray.export.export_student` wrote, or anybody else.

        Args:
            model: a folder, a hub name or ``package:NAME/SUBFOLDER``.
            revision: of a hub model.
            max_tokens, dtype, device, batch_tokens, backend, packed: as for :meth:`Encoder.load <mtd_ray.encoder.Encoder.load>`.
            headless: take any other sentence-transformers model too, as a student of one size.

        Raises:
            MtdError: the folder is missing, damaged, or has no heads; or it names code that is not trusted.
        """
        folder = local_copy(str(model), revision)
        sizes, place = head_sizes(folder), place_of_head(str(folder))
        if (not sizes or place is None) and (sizes or not headless):
            lacks = "head folder 2_Dense_SIZE" if not sizes else "head in modules.json"
            raise MtdError(f"{folder} is not an exported student: it has no {lacks}")
        encoder = Encoder.load(
            str(folder),
            max_tokens=max_tokens,
            dtype=dtype,
            device=device,
            batch_tokens=batch_tokens,
            backend=backend,
            packed=packed,
        )
        if place is None:
            return cls(encoder, len(encoder.modules), {encoder.dimension: nn.Identity()})
        heads = {size: load_head(str(folder), size).to(encoder.model.device, getattr(torch, dtype)) for size in sizes}
        return cls(encoder, place, heads)

    @property
    def heads(self) -> tuple[int, ...]:
        """Sizes of the trained heads, ascending."""
        return tuple(self._heads)

    def has_size(self, size: int) -> bool:
        """Whether there are vectors of this size: a head's, or a prefix of one where heads are nested."""
        return size in self._heads or (self.nested and 0 < size < self.heads[-1])

    @property
    def tokens(self) -> Tokens:
        """A tokenizer of the student's own, for :meth:`embed_ids`.

        Raises:
            MtdError: texts cannot be read ahead for this model.
        """
        return Tokens.of(self._encoder.model)

    @property
    def pools_prompts(self) -> bool:
        """Whether a prompt's tokens are pooled with the text's; :meth:`embed_ids`, which knows no prompts, pools them."""
        return all(getattr(module, "include_prompt", True) for module in self._encoder.model)

    def compile_layers(self) -> None:
        """Compile the transformer's layers when they run first."""
        for layer in transformer_layers(self._encoder.model[0].auto_model):
            layer.compile(dynamic=True)

    @property
    def packs(self) -> bool:
        """Whether texts stand in one line, without padding."""
        return self._encoder.packs

    @property
    def batch_tokens(self) -> int:
        """Tokens of a forward pass, padding included."""
        return self._encoder.batch_tokens

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
    def empty_prompts(self) -> frozenset[str]:
        """Names of the folder's prompts that put nothing before a text."""
        return frozenset(self._encoder.model.prompts) - frozenset(self.prompts)

    @property
    def default_prompt(self) -> str:
        """What a plain load of the folder puts before a text for which no prompt is chosen; :meth:`encode` does not."""
        return self.prompts.get(self._encoder.model.default_prompt_name or "", "")

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
        self._check_sizes(sizes)
        if not texts:
            return {size: np.zeros((0, size), np.float32) for size in sizes}

        def forward(features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            pooled = self._through_backbone(features)
            return [self._through_head(pooled, size) for size in sizes]

        vectors, _ = self._encoder.run(texts, forward, prompt=prompt)
        return dict(zip(sizes, vectors, strict=True))

    def embed_ids(self, ids: Sequence[Sequence[int]], sizes: Sequence[int]) -> list[Vectors]:
        """Vectors (size,) of texts that are tokenised already, each of its own size, from one pass of the backbone over all.

        Args:
            ids: per text, with prompt and special tokens, not longer than the student reads; see :attr:`tokens`.
            sizes: per text. A head is computed for the texts that want it only.

        Raises:
            MtdError: the student has no vectors of that size.
        """
        self._check_sizes(sizes)

        def forward(rows: list[int], features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            pooled = self._through_backbone(features)
            return [self._of_size(pooled, size, places) for size, places in _places(rows, sizes).items()]

        found: dict[int, Vectors] = {}
        for rows, arrays in self._encoder.run_ids(ids, forward):
            for places, vectors in zip(_places(rows, sizes).values(), arrays, strict=True):
                # Copies: one row that is kept would keep its whole batch.
                found |= {rows[place]: vector.copy() for place, vector in zip(places, vectors, strict=True)}
        return [found[row] for row in range(len(ids))]

    def count_tokens(self, texts: Sequence[str], prompt: str = "", *, cut: bool = True) -> list[int]:
        """Tokens of each text as the student reads it: prompt and special tokens included, and cut at the maximum or not."""
        return self._encoder.count_tokens(texts, prompt, cut=cut)

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        if unknown := [size for size in set(sizes) if not self.has_size(size)]:
            raise MtdError(f"this student has no head of size {unknown[0]}; it has {', '.join(map(str, self.heads))}")

    def _through_backbone(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for module in self._backbone:
            features = module(features)
        return features

    def _of_size(self, pooled: dict[str, torch.Tensor], size: int, places: list[int]) -> torch.Tensor:
        """Vectors of some rows of a batch."""
        states = pooled["sentence_embedding"]
        if len(places) < len(states):
            states = states[torch.tensor(places, device=states.device)]
        return self._through_head({"sentence_embedding": states}, size)

    def _through_head(self, features: dict[str, torch.Tensor], size: int) -> torch.Tensor:
        trained = size if size in self._heads else min(head for head in self._heads if head > size)
        vectors = self._heads[trained](dict(features))["sentence_embedding"][:, :size]  # a head writes its result over its input
        features = {"sentence_embedding": vectors}
        for module in self._behind:
            features = module(features)
        return features["sentence_embedding"]


def _places(rows: Sequence[int], sizes: Sequence[int]) -> dict[int, list[int]]:
    """Size → places in a batch of the rows that want it."""
    found: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        found.setdefault(sizes[row], []).append(place)
    return found
