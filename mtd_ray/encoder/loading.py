"""A model's files → the model in memory, without running code that nobody has read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer

from mtd_ray.encoder.heads import take_head
from mtd_ray.encoder.models import locate_model
from mtd_ray.encoder.published import check_attention, with_known_config
from mtd_ray.encoder.trusted import check_modules
from mtd_ray.errors import MtdError
from mtd_ray.quiet import without_progress_bars


def load_model(
    model: str, *, revision: str | None, trust_remote_code: bool, dtype: torch.dtype, device: str | None, head: int | None
) -> SentenceTransformer:
    """Load a model; the arguments are those of :meth:`mtd_ray.encoder.Encoder.load`.

    Raises:
        MtdError: it is not there, cannot be read, or names code that is not trusted.
    """
    place = locate_model(model)
    with _explained(model), without_progress_bars():
        if trust_remote_code:
            loaded = _load(place, revision, True, dtype, device)
        else:
            check_modules(place, revision)
            place = with_known_config(place, revision)
            loaded = _load(place, revision, False, dtype, device)
            check_attention(loaded, place, revision)
        if head is not None:
            take_head(loaded, place, head, revision, dtype)
    return loaded


def _load(place: str, revision: str | None, trusted: bool, dtype: torch.dtype, device: str | None) -> SentenceTransformer:
    model = SentenceTransformer(
        place,
        revision=revision,
        trust_remote_code=trusted,
        device=device,
        local_files_only=Path(place).is_dir(),
        model_kwargs={"dtype": dtype, "use_safetensors": True},
    )
    # The option above reaches transformers only, which keep some buffers, such as the frequencies of rotary positions, in float32.
    for module in model:
        if not isinstance(module, Transformer):
            module.to(dtype=dtype)
        elif getattr(module.auto_model.config, "use_cache", False):
            module.auto_model.config.use_cache = False  # a decoder's keys and values are kept for a next token only
    return model


@contextmanager
def _explained(model: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MtdError(f"model {model!r} cannot be loaded: {reason}; check the folder or hub name, and its files") from error
