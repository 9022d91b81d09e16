"""A student's architecture and tokenizer: what can be loaded and checked without its weights.

A sentence-transformers folder is a Hugging Face folder too, so both load the same way. Code that ships with a model is never run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig

from mtd_ray.config import StudentConfig
from mtd_ray.encoder.models import locate_model
from mtd_ray.errors import MtdError, RecipeError
from mtd_ray.student.gte import PUBLISHED_TYPE, gte_config


def load_tokenizer(config: StudentConfig) -> Any:
    """The fast tokenizer of ``config.model``.

    Raises:
        RecipeError: it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(
            locate_student(config), revision=config.revision, trust_remote_code=False, config=_read_config(config)
        )
    except (OSError, ValueError, ImportError) as error:
        raise cannot_load(config, error) from error


def load_architecture(config: StudentConfig) -> Any:
    """The Hugging Face config of ``config.model``, attending in both directions, with all of its layers.

    Raises:
        RecipeError: it cannot be loaded, has no layers to choose from, or takes fewer tokens than ``max_tokens``.
    """
    try:
        architecture = _read_config(config)
    except (OSError, ValueError, ImportError) as error:
        raise cannot_load(config, error) from error
    if getattr(architecture, "num_hidden_layers", None) is None:
        raise RecipeError(f"student.model: {config.model} is a {architecture.model_type!r} model, which is no stack of layers")
    try:
        limit = _most_tokens(architecture, config.max_tokens)
    except (ValueError, ImportError) as error:
        raise cannot_load(config, error) from error
    if limit is not None and config.max_tokens > limit:
        raise RecipeError(f"student.max_tokens: {config.max_tokens} is more than the {limit} tokens that {config.model} can take")
    # Stock transformers builds bidirectional masks for a decoder whose config says so, and keeps the key in config.json.
    architecture.is_causal = False
    # A decoder would keep each layer's keys and values, to continue a text with.
    architecture.use_cache = False
    return architecture


def chosen_layers(config: StudentConfig, depth: int) -> tuple[int, ...]:
    """Numbers of the layers that the student keeps out of ``depth``.

    Raises:
        RecipeError: ``config.layers`` names a layer that is not there.
    """
    chosen = tuple(range(depth)) if config.layers is None else config.layers
    wrong = [layer for layer in chosen if not 0 <= layer < depth]
    if wrong:
        raise RecipeError(f"student.layers: {config.model} has layers 0 to {depth - 1}, not {wrong}")
    return chosen


def _most_tokens(architecture: Any, wanted: int) -> int | None:
    """How many tokens a text may have: as many as there are positions, less those that no token gets; None without a limit.

    RoBERTa and its kin number positions from behind the padding token's number. Only the model tells whether it does, so it is
    built (without memory for its weights) where these positions are ``wanted``.
    """
    positions: int | None = getattr(architecture, "max_position_embeddings", None)
    padding = getattr(architecture, "pad_token_id", None)
    if positions is None or not isinstance(padding, int) or not 0 <= padding < positions:
        return positions
    if not positions - padding - 1 < wanted <= positions:
        return positions
    with torch.device("meta"):
        model = AutoModel.from_config(architecture, trust_remote_code=False)
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    reserved = [table.padding_idx for table in tables if isinstance(table, nn.Embedding) and table.padding_idx is not None]
    return positions - reserved[0] - 1 if reserved else positions


def _read_config(config: StudentConfig) -> Any:
    folder = locate_student(config)
    published, _ = PreTrainedConfig.get_config_dict(folder, revision=config.revision)
    if published.get("model_type") == PUBLISHED_TYPE:
        return gte_config(published)
    return AutoConfig.from_pretrained(folder, revision=config.revision, trust_remote_code=False)


def locate_student(config: StudentConfig) -> str:
    """The folder or hub name that loads the student's model; RecipeError when this machine has no such folder or package."""
    try:
        return locate_model(config.model)
    except MtdError as error:
        raise RecipeError(f"student.model: {error}") from None


def cannot_load(config: StudentConfig, error: Exception) -> RecipeError:
    """What loading raised, in one line that names the key."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return RecipeError(f"student.model: {config.model} cannot be loaded: {reason}")
