"""Which of a backbone's parameters the token states depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def reached_parameters(backbone: Any) -> set[str]:
    """Names of the parameters on which the token states depend, found by following one forward pass back to them.

    The others (a pooler, the head of another task) would be given no gradient, yet an optimizer's weight decay would shrink them.
    """
    required = {name: parameter.requires_grad for name, parameter in backbone.named_parameters()}
    backbone.requires_grad_(True)
    ids = torch.arange(4, device=next(backbone.parameters()).device)[None] % backbone.config.vocab_size
    with torch.enable_grad():
        states = backbone(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    used = {id(leaf) for leaf in _leaves(states)}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(required[name])
    return {name for name, parameter in backbone.named_parameters() if id(parameter) in used}


def _leaves(output: Tensor) -> Iterator[Tensor]:
    """Tensors that the output was computed from and that gradients end in."""
    open_nodes, seen = [output.grad_fn], set()
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor):
            yield leaf
        open_nodes.extend(following for following, _ in node.next_functions)
