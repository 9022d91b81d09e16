"""A model whose texts go through its transformer one behind the other, without padding.

That is faster where the device has a kernel for it (see :mod:`mtd_ray.student.packed`), and takes a transformer that gives packed
texts the states which they get alone; which do is tried out in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor, nn
from transformers import PreTrainedModel

from mtd_ray.encoder.inputs import token_limit
from mtd_ray.errors import MtdError
from mtd_ray.student.packed import first_position, has_kernel, packed_states
from mtd_ray.student.pooling import Pooling, pool_packed

_POOLING: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
# Lengths that a kernel is told are rounded up to multiples of this, so that compiled code sees few of them.
_STEP = 128


def packs_well(model: SentenceTransformer) -> bool:
    """Whether the model's device has a kernel for packed texts in the model's type."""
    first = next(model.parameters(), None)
    return first is not None and has_kernel(first.device, first.dtype)


def packed_modules(model: SentenceTransformer) -> list[nn.Module] | None:
    """Modules that give for packed texts what the model's own give for padded ones; None where it has no such.

    The first takes what :class:`mtd_ray.encoder.inputs.PackedIds` gives. Places in the list are places in the model.
    """
    if not _may_pack(model):
        return None
    transformer = model[0].auto_model
    try:
        with _in_float32(transformer):
            first = first_position(transformer, token_limit(model))
    except (MtdError, AttributeError, torch.OutOfMemoryError):
        return None
    if first is None:
        return None
    return [_PackedTransformer(transformer, first), _PackedPooling(_POOLING[model[1].pooling_mode]), *list(model)[2:]]


def _may_pack(model: SentenceTransformer) -> bool:
    if len(model) < 2 or not isinstance(model[0], Transformer) or not isinstance(model[1], PoolingModule):
        return False
    if model[0].modalities != ["text"] or not isinstance(model[0].auto_model, PreTrainedModel):
        return False
    text = model[0].modality_config["text"]
    plain = text["method"] == "forward" and text["method_output_name"] in ("last_hidden_state", ["last_hidden_state"])
    pooling = model[1].pooling_mode
    return plain and model[1].include_prompt and isinstance(pooling, str) and pooling in _POOLING


class _PackedTransformer(nn.Module):
    def __init__(self, transformer: Any, first: int) -> None:
        super().__init__()
        self._transformer, self._first = transformer, first

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        longest = -(-features["longest"] // _STEP) * _STEP
        offsets: Tensor = features["offsets"]
        states = packed_states(self._transformer, features["input_ids"], offsets, longest, self._first)
        return {"token_embeddings": states, "offsets": offsets}


class _PackedPooling(nn.Module):
    def __init__(self, how: Pooling) -> None:
        super().__init__()
        self._how = how

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        states: Tensor = features["token_embeddings"]
        # In the states' type, which the layers behind have too; rounded after it is summed.
        return {"sentence_embedding": pool_packed(states, features["offsets"], self._how).to(states.dtype)}


@contextmanager
def _in_float32(transformer: nn.Module) -> Iterator[None]:
    """The same weights with more digits, for a while."""
    own = [(parameter, parameter.data) for parameter in transformer.parameters()]
    try:
        for parameter, data in own:
            parameter.data = data.float()
        yield
    finally:
        for parameter, data in own:
            parameter.data = data
