"""How many floating-point operations a training step takes.

Counted are the products of matrices, two operations for each multiplication with its addition, on real tokens: padding, and what
is computed again to save memory, do not make a model bigger. The share of a device's peak that follows is the model FLOPs
utilization of arXiv 2204.02311, appendix B, with attention over the actual lengths.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from mtd_ray.distill.data.batch import Batch
from mtd_ray.errors import RecipeError
from mtd_ray.student import Student
from mtd_ray.student.backbone import transformer_layers

_PROBE_TOKENS = 4


@dataclass
class PassFlops:
    """Operations of one pass through the backbone, forward or backward.

    Attributes:
        per_token: of the linear layers.
        per_pair: of attention, for each pair of tokens of which one attends to the other, by reach: how many tokens a token attends
            to at most.
    """

    per_token: float = 0.0
    per_pair: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    def of(self, lengths: Sequence[int]) -> float:
        """Operations on texts of so many tokens."""
        n = np.asarray(lengths, dtype=np.float64)
        attention = sum(operations * float(n @ np.minimum(n, reach)) for reach, operations in self.per_pair.items())
        return self.per_token * float(n.sum()) + attention


@dataclass
class StepFlops:
    """Operations of a training step. What a step computes a second time is another ``forward``, and in none of the sums.

    Attributes:
        forward, backward: through the backbone; no backward below the lowest part that is trained.
        heads: of a text, both ways.
    """

    forward: PassFlops = field(default_factory=PassFlops)
    backward: PassFlops = field(default_factory=PassFlops)
    heads: float = 0.0

    def of_texts(self, lengths: Sequence[int]) -> float:
        """Operations of a step on texts of so many tokens."""
        return self.forward.of(lengths) + self.backward.of(lengths) + self.heads * len(lengths)

    def of_batch(self, batch: Batch) -> float:
        """Operations of a step on one worker's rows of a batch."""
        if batch.pooled is not None:
            return self.heads * len(batch.pooled)
        return self.of_texts([len(ids) for ids in batch.token_ids])


def step_flops(student: Student) -> StepFlops:
    """Operations of a step with what of the student is trainable now, found by following one short text through it.

    Call it before an engine takes the student: ZeRO-3 leaves each worker a part of the weights.
    """
    backbone = student.backbone
    step = StepFlops()
    ids = torch.arange(_PROBE_TOKENS, device=next(backbone.parameters()).device)[None] % backbone.config.vocab_size
    with _counting(backbone, step), torch.enable_grad():
        pooled = student.pool(ids, torch.ones_like(ids))
    used = [head for head in student.heads.values() if _is_trained(head)]
    step.heads = sum(_operations(head) * (1 + _gradients(head, pooled)) for head in used)
    return step


@contextmanager
def _counting(backbone: Any, step: StepFlops) -> Iterator[None]:
    """What passes through the backbone inside is added to ``step``."""
    layers = _layers(backbone)
    width = _attention_width(backbone.config) * backbone.config.num_hidden_layers / len(layers)

    def linear_ran(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        # What does not run on every token is a pooler of the backbone's own, whose output nobody uses.
        if inputs[0].shape[:-1].numel() == _PROBE_TOKENS:
            step.forward.per_token += _operations(module)
            step.backward.per_token += _operations(module) * _gradients(module, inputs[0])

    def layer_ran(layer: nn.Module, _: Any, output: Any) -> None:
        states: Tensor = output if isinstance(output, Tensor) else output[0]
        reach = _reach(backbone.config, layers.index(layer))
        step.forward.per_pair[reach] += 4.0 * width
        step.backward.per_pair[reach] += 8.0 * width * states.requires_grad

    hooks = [module.register_forward_hook(linear_ran) for module in backbone.modules() if isinstance(module, (nn.Linear, Conv1D))]
    hooks += [layer.register_forward_hook(layer_ran) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _layers(backbone: Any) -> list[nn.Module]:
    """The transformer layers; where there is no stack of them, because they share weights, the backbone for all of them."""
    try:
        return list(transformer_layers(backbone))
    except RecipeError:
        return [backbone]


def _operations(layer: Any) -> float:
    """Of a linear layer on one row. By its sizes, not its weights: those may be elsewhere."""
    size: int = layer.nx * layer.nf if isinstance(layer, Conv1D) else layer.in_features * layer.out_features
    return 2.0 * size


def _gradients(layer: nn.Module, entering: Tensor) -> int:
    """Of how many of its two factors a linear layer's product wants the gradient; each costs as much as the product."""
    return int(_is_trained(layer)) + int(entering.requires_grad)


def _is_trained(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters(recurse=False))


def _attention_width(config: Any) -> float:
    """Numbers in all heads' queries of a token."""
    head = getattr(config, "head_dim", None)
    return float(config.num_attention_heads * head if head else config.hidden_size)


def _reach(config: Any, layer: int) -> float:
    """How many tokens a token attends to at most in a layer: itself, and a window on each side where the layer slides one."""
    kinds = getattr(config, "layer_types", None)
    if kinds is None or kinds[layer] != "sliding_attention":
        return math.inf
    window: int = config.sliding_window
    return 2.0 * window + 1
