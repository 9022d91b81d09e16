"""A transformer as tracing wants it: positional inputs, one tensor as output."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Traceable(nn.Module):
    """Token ids, mask and, where the model knows them, token types → ``last_hidden_state`` (rows, tokens, size)."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.eval()  # exporters put the whole model back into the mode they found this module in

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        named = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            named["token_type_ids"] = token_type_ids
        states: Tensor = self.model(**named).last_hidden_state
        return states


def example_inputs(
    model: SentenceTransformer, texts: tuple[str, ...] = ("a text", "and a longer one, so that there is padding")
) -> dict[str, Tensor]:
    """The transformer's inputs for some texts, by name, in the order of :class:`Traceable`."""
    features = model.preprocess(list(texts))
    return {name: features[name] for name in _INPUTS if name in features}


@contextmanager
def tracing_quietly() -> Iterator[None]:
    """Without progress bars that are printed, and torch's warnings on branches that do not depend on the texts."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.inference_mode():
        warnings.simplefilter("ignore")
        yield
