"""The student module: plain PyTorch, no Ray, no DeepSpeed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from mtd_ray.config import StudentConfig, Trainable
from mtd_ray.student.architecture import load_tokenizer
from mtd_ray.student.backbone import load_backbone
from mtd_ray.student.freezing import gradient_share, trained_parameters
from mtd_ray.student.packed import first_position, has_kernel, packed_states
from mtd_ray.student.pooling import pool, pool_packed
from mtd_ray.student.reached import reached_parameters


class Student(nn.Module):
    """Backbone, pooling, and vectors of one or more sizes from the pooled state.

    Independent heads are one linear layer per size (arXiv 2412.19048, section 3); nested ones are prefixes of one linear layer of
    the largest size (arXiv 2205.13147). Dropout is always off: its masks would depend on how rows are dealt to workers, and a
    student that regresses on targets is not short of signal.

    Attributes:
        config: what it was built from.
        tokenizer: of the backbone.
        hidden_size: size of the pooled state.
        heads: size as text → ``nn.Linear(hidden_size, size)``; of a nested student only the largest size.
        gradient_share: share of the backbone's layers that gradients pass through, 0 to 1; :meth:`freeze` changes it.
    """

    def __init__(self, config: StudentConfig, backbone: Any, tokenizer: Any, seed: int) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.backbone: Any = backbone
        self.hidden_size: int = backbone.config.hidden_size
        sizes = (max(config.heads),) if config.matryoshka == "nested" else config.heads
        self.heads = nn.ModuleDict({str(size): _new_head(self.hidden_size, size, seed) for size in sizes})
        # Found while the weights are whole and in float32: DeepSpeed rounds them and may leave each worker a part of them.
        self._reached = reached_parameters(backbone)
        self._first_position = first_position(backbone, config.max_tokens)
        self.gradient_share = gradient_share(backbone)
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

    def pool_packed(self, input_ids: Tensor, offsets: Tensor, longest: int) -> Tensor:
        """What :meth:`pool` gives, for texts that stand one behind the other without padding.

        Args:
            input_ids: ``(tokens,)`` of all texts.
            offsets: ``(texts + 1,)`` int32: text ``i`` is ``input_ids[offsets[i]:offsets[i + 1]]``; no text is empty.
            longest: at least as many tokens as the longest text has.

        Returns:
            ``(texts, hidden_size)`` float32.

        Raises:
            ValueError: the backbone cannot embed packed texts.
        """
        if self._first_position is None:
            raise ValueError(f"{type(self.backbone).__name__} cannot embed packed texts")
        states = packed_states(self.backbone, input_ids, offsets, longest, self._first_position)
        return pool_packed(states, offsets, self.config.pooling)

    @property
    def packs(self) -> bool:
        """Whether texts are better embedded packed than padded: the backbone can, and the device has a kernel for it."""
        weight = next(self.backbone.parameters())
        return self._first_position is not None and has_kernel(weight.device, weight.dtype)

    def project(self, pooled: Tensor, heads: Sequence[int]) -> dict[int, Tensor]:
        """Pooled states ``(batch, hidden_size)`` → per head ``(batch, head)`` float32, not normalised."""
        if self.config.matryoshka == "nested":
            # The whole layer, though only a prefix may be asked for: ZeRO-3 gathers weights when their module is called.
            largest = _apply(self.heads[self._layer_of(max(heads))], pooled)
            return {head: largest[:, :head] for head in heads}
        return {head: _apply(self.heads[self._layer_of(head)], pooled) for head in heads}

    def linear(self, head: int) -> tuple[Tensor, Tensor]:
        """Weight ``(head, hidden_size)`` and bias ``(head,)`` of the linear map that gives vectors of this size; views."""
        layer = self.heads[self._layer_of(head)]
        return layer.weight[:head], layer.bias[:head]  # type: ignore[index]

    def freeze(self, trainable: Trainable, heads: Collection[int]) -> None:
        """Let only a stage's part require gradients: the heads it uses, and as much of the backbone as it names.

        Layers are trained without what comes before and after the stack: embeddings and a last norm are trained with ``all`` only.
        What the pooled states never pass through, such as BERT's pooler, is never trained.

        Raises:
            RecipeError: the backbone has no such layers.
        """
        trained = trained_parameters(self.backbone, trainable) & self._reached
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in trained)
        layers = {self._layer_of(head) for head in heads}
        for key, layer in self.heads.items():
            layer.requires_grad_(key in layers)
        self.gradient_share = gradient_share(self.backbone)

    @property
    def trunk_is_frozen(self) -> bool:
        """Whether no part of the backbone is trained, so that a text's pooled state stays what it is."""
        return not any(parameter.requires_grad for parameter in self.backbone.parameters())

    def _layer_of(self, head: int) -> str:
        """Key in ``heads`` of the linear layer that gives vectors of this size."""
        return str(max(self.config.heads) if self.config.matryoshka == "nested" else head)


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
