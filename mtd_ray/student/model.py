"""The student module: plain PyTorch, no Ray, no DeepSpeed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from mtd_ray.config import LastLayers, StudentConfig
from mtd_ray.errors import RecipeError
from mtd_ray.student.architecture import load_tokenizer
from mtd_ray.student.backbone import load_backbone, transformer_layers
from mtd_ray.student.pooling import pool


class Student(nn.Module):
    """Backbone, pooling, and one independent linear head per output size (arXiv 2412.19048, section 3).

    Dropout is always off: its masks would depend on how rows are dealt to workers, and a student that regresses on targets is not
    short of signal.

    Attributes:
        config: what it was built from.
        tokenizer: of the backbone.
        hidden_size: size of the pooled state.
        heads: head size as text → ``nn.Linear(hidden_size, size)``.
    """

    def __init__(self, config: StudentConfig, backbone: Any, tokenizer: Any, seed: int) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.backbone: Any = backbone
        self.hidden_size: int = backbone.config.hidden_size
        self.heads = nn.ModuleDict({str(size): _new_head(self.hidden_size, size, seed) for size in config.heads})
        self.train()

    @classmethod
    def build(cls, config: StudentConfig, seed: int) -> Self:
        """The student before its first step: the same weights for the same configuration and seed.

        Raises:
            RecipeError: the model cannot be loaded or does not fit the configuration.
        """
        return cls(config, load_backbone(config, seed), load_tokenizer(config), seed)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.backbone.eval()
        return self

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask ``(batch, length)`` → pooled states ``(batch, hidden_size)`` float32."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return pool(states, attention_mask, self.config.pooling)

    def project(self, pooled: Tensor, heads: Sequence[int]) -> dict[int, Tensor]:
        """Pooled states ``(batch, hidden_size)`` → per head ``(batch, head)`` float32, not normalised."""
        return {head: _apply(self.heads[str(head)], pooled) for head in heads}

    def freeze(self, trainable: Literal["heads", "all"] | LastLayers, heads: Collection[int]) -> None:
        """Let only a stage's part require gradients: the heads it uses, and as much of the backbone as it names.

        Raises:
            RecipeError: more last layers are asked for than there are.
        """
        self.requires_grad_(False)
        for head in heads:
            self.heads[str(head)].requires_grad_(True)
        if trainable == "all":
            self.backbone.requires_grad_(True)
        elif isinstance(trainable, LastLayers):
            layers = transformer_layers(self.backbone)
            if trainable.last > len(layers):
                raise RecipeError(f"trainable.last: {trainable.last} layers asked for, the student has {len(layers)}")
            for layer in layers[len(layers) - trainable.last :]:
                layer.requires_grad_(True)
        # BERT-like backbones carry a pooler that the pooled token states never pass through.
        if isinstance(pooler := getattr(self.backbone, "pooler", None), nn.Module):
            pooler.requires_grad_(False)


def _new_head(hidden_size: int, size: int, seed: int) -> nn.Linear:
    head: nn.Linear = nn.utils.skip_init(nn.Linear, hidden_size, size, bias=True)  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(seed * 1_000_003 + size)
    bound = hidden_size**-0.5
    with torch.no_grad():
        head.weight.uniform_(-bound, bound, generator=generator)
        head.bias.zero_()
    return head


def _apply(head: nn.Module, pooled: Tensor) -> Tensor:
    output: Tensor = head(pooled.to(next(head.parameters()).dtype))
    return output.float()
