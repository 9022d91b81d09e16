"""An exported student: one backbone, several heads, one forward pass for all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mtd_ray.encoder.encoder import Encoder, Vectors
from mtd_ray.errors import MtdError

_HEAD = re.compile(r"^2_Dense_(\d+)$")
_NO_LIMIT = 2**31


class StudentEncoder:
    """Texts → vectors of any of the student's sizes. Vectors are not normalised; they are meant for cosine similarity."""

    def __init__(self, encoder: Encoder, heads: dict[int, nn.Linear]) -> None:
        self._encoder = encoder
        self._heads = heads
        self._backbone = list(encoder.model)[:-1]

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None, batch_tokens: int | None = None) -> StudentEncoder:
        """Load a folder written by :func:`mtd_ray.export.export_student`.

        Args:
            device, batch_tokens: as for :meth:`Encoder.load <mtd_ray.encoder.Encoder.load>`.

        Raises:
            MtdError: the folder is missing, damaged, or has no heads.
        """
        folder = Path(folder).absolute()
        found = sorted(int(match[1]) for path in folder.glob("2_Dense_*") if (match := _HEAD.match(path.name)))
        if not found:
            raise MtdError(f"{folder} is not an exported student: it has no head folder 2_Dense_SIZE")
        encoder = Encoder.load(str(folder), max_tokens=_NO_LIMIT, device=device, batch_tokens=batch_tokens)
        heads = {size: _load_head(folder / f"2_Dense_{size}").to(encoder.model.device) for size in found}
        return cls(encoder, heads)

    @property
    def heads(self) -> tuple[int, ...]:
        """Available sizes, ascending."""
        return tuple(self._heads)

    @property
    def default_head(self) -> int:
        """The size that ``modules.json`` names: what a plain load of the folder gives."""
        return self._encoder.dimension

    @property
    def prompts(self) -> dict[str, str]:
        """The folder's named prompts."""
        return {name: prompt for name, prompt in self._encoder.model.prompts.items() if prompt}

    @property
    def max_tokens(self) -> int:
        """Where texts are cut, in tokens."""
        return self._encoder.max_tokens

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
            return [self._heads[size](features["sentence_embedding"]) for size in sizes]

        vectors, _ = self._encoder.run(texts, forward, prompt=prompt)
        return dict(zip(sizes, vectors, strict=True))

    def count_tokens(self, texts: Sequence[str], prompt: str = "") -> list[int]:
        """Tokens of each text as the student reads it: prompt and special tokens included, cut at the maximum."""
        return self._encoder.count_tokens(texts, prompt)


def _load_head(folder: Path) -> nn.Linear:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
        head = nn.Linear(config["in_features"], config["out_features"], bias=config["bias"])
        head.load_state_dict({name.removeprefix("linear."): tensor.float() for name, tensor in weights.items()})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise MtdError(f"head {folder} cannot be loaded: {type(error).__name__}: {error}") from error
    return head.eval()
