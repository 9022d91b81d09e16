"""A sentence-transformers model on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Transformer
from torch import Tensor, nn

from mtd_ray.encoder.batches import TokenBudget, fastest_batch
from mtd_ray.encoder.cache import cache_folder
from mtd_ray.encoder.cpu import tune_for_cpu
from mtd_ray.encoder.inputs import Inputs, PaddedInputs, count_tokens, inputs_of, limit_tokens, token_limit, tokenize
from mtd_ray.encoder.int8 import use_int8
from mtd_ray.encoder.loading import load_model
from mtd_ray.encoder.packed import packed_modules, packs_well
from mtd_ray.encoder.transfer import to_device, to_host
from mtd_ray.errors import MtdError

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Forward = Callable[[dict[str, Any]], Sequence[Tensor]]
ForwardRows = Callable[[list[int], dict[str, Any]], Sequence[Tensor]]

# Enough texts for well-sorted batches; bounds what is held tokenised at once.
_WINDOW_ROWS = 32_768


@dataclass(frozen=True)
class Encoded:
    """Vectors (rows, dim) and how many tokens the model read for them, prompts and special tokens included."""

    vectors: Vectors
    tokens: int


class Encoder:
    """Texts → vectors, exactly as the model's own ``encode`` gives them, with less padding, or none.

    Texts are tokenised, sorted by length and run in batches of at most ``batch_tokens`` tokens, padding included. A text's vector
    does not depend on the texts beside it, up to float rounding. A batch that does not fit into memory halves the budget. Several
    threads may use an encoder at once.

    Attributes:
        packs: whether the texts of a batch stand in one line, without padding.
        modules: a batch's features on the device → the features behind the last of them; in the places of the model's own modules.

    Args:
        batch_tokens: None for what is fastest: 8192 on a GPU; on a CPU 256 for each thread that torch uses, and at least
            512: more would fall out of its caches.
        packed: whether texts are packed where the model can; None: where the device has a kernel for it, which is a GPU in 16 bits.
    """

    def __init__(self, model: SentenceTransformer, *, batch_tokens: int | None = None, packed: bool | None = None) -> None:
        self.model = model.eval()
        tokens = fastest_batch(model) if batch_tokens is None else batch_tokens
        in_line = packed_modules(model) if (packs_well(model) if packed is None else packed) else None
        self.packs = in_line is not None
        self.modules: list[nn.Module] = in_line or list(model)
        self._budget = TokenBudget(tokens, on_gpu=self.device.type == "cuda", packed=self.packs)
        # Truncation is a setting inside the tokenizer, and a forward pass takes all cores or the whole GPU: one caller at a time
        # in each. A second caller tokenises meanwhile.
        self._tokenizing = Lock()
        self._computing = Lock()

    @classmethod
    def load(
        cls,
        model: str,
        *,
        max_tokens: int | None,
        revision: str | None = None,
        head: int | None = None,
        trust_remote_code: bool = False,
        dtype: str = "float32",
        device: str | None = None,
        batch_tokens: int | None = None,
        backend: str = "torch",
        packed: bool | None = None,
    ) -> Encoder:
        """Load a folder, a hub name or ``package:NAME/SUBFOLDER`` (see :func:`locate_model`).

        Args:
            max_tokens: texts are cut here, or at the model's own limit when that is lower or this is None.
            head: takes the head of this size, where the model has several (see :mod:`mtd_ray.encoder.heads`) and this among them.
            trust_remote_code: load classes outside sentence-transformers' plain modules; needs code you have read.
            dtype: ``float32``, ``bfloat16`` or ``float16``; vectors come out as float32 whatever it is.
            device: a torch device; None takes a GPU when there is one.
            batch_tokens: padded tokens of a batch; None for what is fastest on the device.
            backend: ``torch``, or ``openvino-int8`` for 8-bit weights and activations on the CPU (see :mod:`mtd_ray.encoder.int8`).
            packed: as for :class:`Encoder`.

        Raises:
            MtdError: the model is not there, cannot be read, names code that is not trusted, or does not work with the backend.
        """
        int8 = backend == "openvino-int8"
        if int8 and dtype != "float32":
            raise MtdError(f"backend openvino-int8 starts from float32 weights; dtype {dtype} does not go with it, leave it out")
        loaded = load_model(
            model,
            revision=revision,
            trust_remote_code=trust_remote_code,
            dtype=getattr(torch, dtype),
            device="cpu" if int8 else device,
            head=head,
        )
        if max_tokens is not None:
            limit_tokens(loaded, max_tokens)
        if int8:
            use_int8(loaded, cache_folder())
        elif isinstance(loaded[0], Transformer):
            tune_for_cpu(loaded[0].auto_model)
        return cls(loaded, batch_tokens=batch_tokens, packed=packed)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return torch.device(self.model.device)

    @property
    def dimension(self) -> int:
        """Size of a vector."""
        return int(self.model.get_embedding_dimension())

    @property
    def normalized(self) -> bool:
        """Whether the model itself scales its vectors to length 1."""
        return isinstance(self.model[-1], Normalize)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch, padding included; less than at the start when one did not fit into memory."""
        return self._budget.tokens

    @property
    def max_tokens(self) -> int:
        """Where texts are cut, in tokens."""
        return token_limit(self.model)

    def encode(self, texts: Sequence[str], *, prompt: str = "") -> Vectors:
        """Vectors (rows, dim) in the order of ``texts``; scaled to length 1 only if the model itself ends that way."""
        return self.embed(texts, prompt=prompt).vectors

    def embed(self, texts: Sequence[str], *, prompt: str = "") -> Encoded:
        """As :meth:`encode`, with the number of tokens read."""
        if not texts:
            return Encoded(np.zeros((0, self.dimension), np.float32), 0)
        forward = self.through if self.packs else self.model
        (vectors,), tokens = self.run(texts, lambda features: [forward(features)["sentence_embedding"]], prompt=prompt)
        return Encoded(vectors, tokens)

    def through(self, features: dict[str, Any]) -> dict[str, Any]:
        """A batch's features through all modules."""
        for module in self.modules:
            features = module(features)
        return features

    def run(self, texts: Sequence[str], forward: Forward, *, prompt: str = "") -> tuple[list[Vectors], int]:
        """Run ``forward`` over token-budget batches.

        Args:
            texts: at least one.
            forward: a batch's features on the device → tensors, each with one row per text.

        Returns:
            One array per tensor, rows in the order of ``texts``; and the number of tokens read.
        """
        windows = [
            self._run_window(texts[start : start + _WINDOW_ROWS], forward, prompt) for start in range(0, len(texts), _WINDOW_ROWS)
        ]
        outputs = [np.concatenate(parts) for parts in zip(*(arrays for arrays, _ in windows), strict=True)]
        return outputs, sum(tokens for _, tokens in windows)

    def _run_window(self, texts: Sequence[str], forward: Forward, prompt: str) -> tuple[list[Vectors], int]:
        with self._tokenizing:
            inputs = tokenize(self.model, texts, prompt)
        if self.packs and isinstance(inputs, PaddedInputs):
            inputs = inputs_of(self.model, inputs.ids, packed=True)
        with self._computing:
            return self._compute(inputs, forward), sum(inputs.lengths)

    @torch.inference_mode()
    def run_ids(self, ids: Sequence[Sequence[int]], forward: ForwardRows) -> list[tuple[list[int], list[Vectors]]]:
        """Run ``forward`` over token-budget batches of texts that are tokenised already.

        Args:
            ids: per text, with prompt and special tokens, not longer than the model reads (see :class:`mtd_ray.encoder.Tokens`).
            forward: a batch's rows, and its features on the device → tensors.

        Returns:
            For each batch its rows, and an array for each tensor, in float32.
        """
        inputs = inputs_of(self.model, ids, packed=self.packs)
        with self._computing:
            batches = self._budget.batches(inputs.lengths, lambda rows: forward(rows, to_device(inputs.batch(rows), self.device)))
            found = [(rows, [to_host(tensor) for tensor in tensors]) for rows, tensors in batches]
            done = torch.cuda.current_stream(self.device).record_event() if self.device.type == "cuda" else None
        if done is not None:
            done.synchronize()
        return [(rows, [tensor.numpy() for tensor in tensors]) for rows, tensors in found]

    @torch.inference_mode()
    def _compute(self, inputs: Inputs, forward: Forward) -> list[Vectors]:
        """Results go to the host while the next batch computes; one wait at the end, not one per batch."""
        order: list[int] = []
        results: list[Tensor] = []
        on_gpu = self.model.device.type == "cuda"
        for rows, tensors in self._budget.batches(inputs.lengths, lambda rows: forward(to_device(inputs.batch(rows), self.device))):
            if not results:
                results = [torch.empty((len(inputs.lengths), tensor.shape[1]), pin_memory=on_gpu) for tensor in tensors]
            for result, tensor in zip(results, tensors, strict=True):
                result[len(order) : len(order) + len(rows)].copy_(tensor, non_blocking=True)
            order += rows
        if on_gpu:
            torch.cuda.current_stream(self.device).synchronize()
        return [_unsorted(result.numpy(), order) for result in results]

    @property
    def prompts(self) -> dict[str, str]:
        """The model's named prompts, without empty ones."""
        return {name: prompt for name, prompt in self.model.prompts.items() if prompt}

    @property
    def parameters(self) -> int:
        """How many numbers the model has learned."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def count_tokens(self, texts: Sequence[str], prompt: str = "", *, cut: bool = True) -> list[int]:
        """Tokens of each text as the model reads it: prompt and special tokens included, cut at the maximum unless told not to."""
        if not texts:
            return []
        with self._tokenizing:
            return tokenize(self.model, texts, prompt).lengths if cut else count_tokens(self.model, texts, prompt)


def _unsorted(values: Vectors, order: list[int]) -> Vectors:
    """Rows in the order of the texts, from rows in the order of computing."""
    vectors = np.empty_like(values)
    vectors[order] = values
    return vectors
