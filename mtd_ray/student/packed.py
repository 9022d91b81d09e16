"""Texts through the backbone in one line, one behind the other, without padding.

Each text attends to itself only, and its positions begin anew. That needs a backbone whose attention can be exchanged and whose
forward pass hands keyword arguments on to it. Which models do is not written down anywhere, so each is tried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

from mtd_ray.errors import RecipeError
from mtd_ray.student.rectangles import Rectangles

# Names under which transformers finds an attention.
_KERNEL, _PLAIN, _RECTANGLES = "mtd_ray_packed", "mtd_ray_packed_plain", "mtd_ray_packed_rectangles"
# Arguments of fused attention that change its result and are not handled here.
_SPECIAL = ("position_bias", "softcap", "s_aux")
# Before torch 2.13 grouped keys are taken without being told.
_TELLS_GROUPS = "enable_gqa" in signature(varlen_attn).parameters
# Models with a table of positions are tried with a line that is longer than the table, if that costs little.
_SMALL_TABLE = 1024


def packed_states(backbone: Any, input_ids: Tensor, offsets: Tensor, longest: int, first_position: int) -> Tensor:
    """Last hidden states of texts that stand one behind the other.

    Args:
        backbone: one that :func:`first_position` has a number for.
        input_ids: ``(tokens,)`` of all texts.
        offsets: ``(texts + 1,)`` int32: text ``i`` is ``input_ids[offsets[i]:offsets[i + 1]]``; no text is empty.
        longest: at least as many tokens as the longest text has.
        first_position: number of a text's first position.

    Returns:
        ``(tokens, hidden)`` in the backbone's type.
    """
    places = torch.arange(len(input_ids), device=input_ids.device, dtype=torch.int32)
    positions = (places - offsets[_text_of(places, offsets)] + first_position).long()
    name = _attention_for(next(backbone.parameters()))
    special = {"rectangles": Rectangles.of(offsets)} if name == _RECTANGLES else {}
    with _attention_of(backbone, name):
        output = backbone(
            input_ids=input_ids[None],
            position_ids=positions[None],
            cu_seq_lens_q=offsets,
            cu_seq_lens_k=offsets,
            max_length_q=longest,
            max_length_k=longest,
            **special,
        )
    states: Tensor = output.last_hidden_state[0]
    return states


def has_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether attention of this type over packed texts is fast on this device: an NVIDIA GPU from Ampere on, in 16 bits."""
    return (
        device.type == "cuda"
        and dtype in (torch.bfloat16, torch.float16)
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def _attention_for(weight: Tensor) -> str:
    if has_kernel(weight.device, weight.dtype):
        return _KERNEL
    return _PLAIN if weight.device.type != "cpu" or torch.is_grad_enabled() else _RECTANGLES


@torch.no_grad()
def first_position(backbone: Any, max_tokens: int) -> int | None:
    """Number of a packed text's first position, for which packed texts get the states that they get alone; None if no number does.

    Args:
        backbone: in float32.
        max_tokens: of the longest text that will come.

    Raises:
        RecipeError: the backbone cannot take texts of so many tokens.
    """
    texts = _trial(backbone, max_tokens)
    ids = torch.cat(texts)
    offsets = F.pad(torch.tensor([len(text) for text in texts], device=ids.device).cumsum(0), (1, 0)).int()
    alone = torch.cat([_alone(backbone, text) for text in texts])
    scale = float(alone.nan_to_num(posinf=0, neginf=0).abs().max())  # a word whose embedding is not finite is no fault of packing
    # RoBERTa and its kin number positions from behind the padding token's number.
    padding = getattr(backbone.config, "pad_token_id", None)
    for first in (0, *([padding + 1] if isinstance(padding, int) else [])):
        try:
            packed = packed_states(backbone, ids, offsets, max_tokens, first)
        except (TypeError, ValueError, IndexError, RuntimeError):
            continue
        if torch.allclose(packed, alone, atol=1e-4 * scale, rtol=1e-3, equal_nan=True):
            return first
    return None


def _alone(backbone: Any, text: Tensor) -> Tensor:
    try:
        states: Tensor = backbone(input_ids=text[None], attention_mask=torch.ones_like(text[None])).last_hidden_state[0]
    except (IndexError, RuntimeError) as error:
        raise RecipeError(
            f"student.max_tokens: {type(backbone).__name__} cannot embed a text of {len(text)} tokens ({error}); write fewer"
        ) from error
    return states


def _trial(backbone: Any, max_tokens: int) -> list[Tensor]:
    """Texts on which a wrong way of packing shows: several, longer than a window, together longer than a small table."""
    window, table = _window(backbone.config), getattr(backbone.config, "max_position_embeddings", None)
    lengths = [3, min(max_tokens, 7 if window is None else window + 3), min(max_tokens, 5)]
    if table is not None and table <= _SMALL_TABLE:
        lengths += [max_tokens] * (table // max_tokens + 1)
    generator = torch.Generator().manual_seed(0)
    device, words = next(backbone.parameters()).device, backbone.config.vocab_size
    # The padding token's number is left out: some models take positions from it.
    padding = getattr(backbone.config, "pad_token_id", None) or 0
    return [((torch.randint(1, words, (n,), generator=generator) + padding) % words).to(device) for n in lengths]


@contextmanager
def _attention_of(backbone: Any, name: str) -> Iterator[None]:
    """The backbone attends as the name says. It makes no mask: transformers has none for an attention registered without one."""
    usual = backbone.config._attn_implementation
    backbone.config._attn_implementation = name
    try:
        yield
    finally:
        backbone.config._attn_implementation = usual


def _kernel_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention in both directions within each text; see transformers' attention functions for the arguments.

    query, key, value: (1, heads, tokens, size); key and value may have fewer heads. The result is (1, tokens, heads, size).

    Raises:
        ValueError: the model asks for something that would be ignored here.
    """
    window = _checked_window(module, attention_mask, options)
    offsets, longest = options["cu_seq_lens_q"], options["max_length_q"]
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    special: dict[str, Any] = {} if window is None else {"window_size": (window, window)}
    if options.get("scaling") not in (None, q.shape[2] ** -0.5):
        special["scale"] = options["scaling"]
    if _TELLS_GROUPS and q.shape[1] != k.shape[1]:
        special["enable_gqa"] = True
    output = varlen_attn(q, k, v, offsets, offsets, longest, longest, **special)
    return cast(Tensor, output)[None], None


def _plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """What :func:`_kernel_attention` computes, on any device and in any float type, in memory that grows with tokens²."""
    window = _checked_window(module, attention_mask, options)
    seen = _same_text(options["cu_seq_lens_q"], query.shape[2], window)
    grouped = query.shape[1] != key.shape[1]
    output = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=options.get("scaling"), enable_gqa=grouped)
    return output.transpose(1, 2), None


def _rectangles_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """What :func:`_kernel_attention` computes, on a CPU and without gradients."""
    window = _checked_window(module, attention_mask, options)
    scale = options.get("scaling") or query.shape[3] ** -0.5
    rectangles: Rectangles = options["rectangles"]
    return rectangles.attend(query[0], key[0], value[0], scale=scale, window=window)[None], None


AttentionInterface.register(_KERNEL, _kernel_attention)
AttentionInterface.register(_PLAIN, _plain_attention)
AttentionInterface.register(_RECTANGLES, _rectangles_attention)


def _checked_window(module: nn.Module, attention_mask: Tensor | None, options: dict[str, Any]) -> int | None:
    """How far a token sees to either side in this layer; None for the whole text."""
    if attention_mask is not None or options.get("dropout") or any(options.get(name) is not None for name in _SPECIAL):
        raise ValueError(f"{type(module).__name__} cannot attend within packed texts")
    if options.get("sliding_window") is None:
        return None
    window = _window(module.config)
    return window if window is not None and window < options["max_length_q"] else None


def _same_text(offsets: Tensor, tokens: int, window: int | None) -> Tensor:
    """``(tokens, tokens)`` bool: whether two tokens are of the same text and near enough."""
    places = torch.arange(tokens, device=offsets.device, dtype=offsets.dtype)
    texts = _text_of(places, offsets)
    same = texts[:, None] == texts
    return same if window is None else same & ((places[:, None] - places).abs() <= window)


def _text_of(places: Tensor, offsets: Tensor) -> Tensor:
    """Which text each place in the line belongs to."""
    return torch.searchsorted(offsets, places, right=True) - 1


def _window(config: Any) -> int | None:
    """How far a token sees to either side in layers with local attention; None when the model has none."""
    window = getattr(config, "sliding_window", None)
    return window if isinstance(window, int) else None
