"""A served model: texts → token ids → vectors of the sizes that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtd_ray.encoder import StudentEncoder, Tokens
from mtd_ray.errors import MtdError
from serve.engine.input_ids import TEXTS_INSTEAD
from serve.wire.faults import ApiError, quoted

Vector = np.ndarray[Any, np.dtype[np.float32]]


class ServedModel:
    """A student under the name that clients know. Tokenising is for many threads at once, embedding for one or two.

    Attributes:
        name: what clients call it.
        sizes: of the trained heads, ascending. See :meth:`is_size` for the others.
        default_size: what a plain load of the folder gives.
        max_tokens: of a text, prompt and special tokens included.
        prompts: by name, without empty ones.
        default_prompt: what a plain load of the folder puts before a text for which no prompt is chosen.
        empty_prompts: names of the empty ones.
        cuts_left: a text that is too long loses its beginning.
        dtype: that is computed in.
        packs: texts of a forward pass take no padding: it is their sum that counts.

    Args:
        student: the model.
        tokens: its tokenizer.
    """

    def __init__(self, student: StudentEncoder, tokens: Tokens, *, name: str, dtype: str) -> None:
        self.name = name
        self.sizes, self.default_size = student.heads, student.default_head
        self.max_tokens, self.prompts = student.max_tokens, student.prompts
        self.default_prompt, self.empty_prompts = student.default_prompt, student.empty_prompts
        self.packs, self.dtype = student.packs, dtype
        self.cuts_left = tokens.cuts_left
        self._student, self._tokens = student, tokens

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        name: str,
        device: str | None = None,
        dtype: str = "float32",
        backend: str = "torch",
        batch_tokens: int | None = None,
        compiled: bool = False,
    ) -> ServedModel:
        """Load an exported student or any other sentence-transformers model, and run it once.

        Args:
            folder: a folder, a hub name or ``package:NAME/SUBFOLDER``.
            device: a torch device; None takes a GPU when there is one.
            dtype: that is computed in: ``float32``, ``bfloat16`` or ``float16``. A GPU packs texts in 16 bits only.
            backend: ``torch``, or ``openvino-int8`` for 8-bit weights and activations on a CPU.
            batch_tokens: of a forward pass; None for what is fastest on the device.
            compiled: fuse what stands between a GPU's matrix products; takes a minute and a C compiler.

        Raises:
            MtdError: the model is missing or damaged, names code that is not trusted, or cannot be served.
        """
        student = StudentEncoder.load(
            folder,
            device=device,
            dtype=dtype,
            backend=backend,
            batch_tokens=batch_tokens,
            packed=True if _on_cpu(device) else None,  # texts come as they come: padding them costs more than it would sorted ones
            headless=True,
        )
        if student.prompts and not student.pools_prompts:
            raise MtdError(
                f"model {folder} leaves its prompts out of pooling, so that a text's vector depends on more than its tokens; it "
                'cannot be served. Without prompts in config_sentence_transformers.json, or with "include_prompt": true in its '
                "pooling's config.json, it can"
            )
        if compiled:
            if student.device.type != "cuda":
                raise MtdError(f"model {folder} is on a {student.device.type}, and is compiled on a GPU only: leave out compiled")
            student.compile_layers()
        tokens = student.tokens
        if tokens.strangers and student.device.type == "cuda":
            raise MtdError(
                f"model {folder} has no row for the last {tokens.strangers} tokens of its tokenizer, and on a GPU a text with one "
                "of them would end the server: enlarge the model's embeddings, or serve it on a CPU"
            )
        model = cls(student, tokens, name=name, dtype=dtype if backend == "torch" else "int8")
        try:
            model.warm_up()
        except (IndexError, RuntimeError) as error:
            most = min(model.max_tokens, model.batch_tokens)
            instead = "leave out compiled, or " if compiled else ""
            raise MtdError(
                f"model {folder} cannot embed a text of {most} tokens: {error}; {instead}set max_seq_length in "
                "sentence_bert_config.json to what it can"
            ) from error
        return model

    @property
    def batch_tokens(self) -> int:
        """Tokens of the fastest forward pass on this device, padding included; less than at first where memory ran out."""
        return self._student.batch_tokens

    def is_size(self, size: int) -> bool:
        """Whether there are vectors of this size: of a trained head, or of any prefix of one where heads are nested."""
        return self._student.has_size(size)

    def tokenize(self, texts: Sequence[str], prompt: str = "") -> list[list[int]]:
        """Ids of each text with the prompt before it, special tokens included, not cut. Other threads run meanwhile."""
        return self._tokens.read(texts, prompt)

    def from_ids(self, rows: Sequence[Sequence[int]], prompt: str) -> list[list[int]]:
        """As :meth:`tokenize`, for texts that clients tokenised with this model's tokenizer, with or without special tokens.

        Raises:
            ApiError: an id is not in the vocabulary.
        """
        known = self._tokens.vocabulary
        for index, row in enumerate(rows):
            if row and not (min(row) >= 0 and max(row) < known):
                wrong = next(token for token in row if not 0 <= token < known)
                raise ApiError(
                    f"token id {quoted(wrong)} of input {index} is not in this model's vocabulary of {known}; {TEXTS_INSTEAD}",
                    param="input",
                    code="unknown_token_id",
                )
        return [self._tokens.complete(row, prompt) for row in rows]

    def part(self, ids: Sequence[int]) -> list[int]:
        """What of a text's ids is enough to read the text and cut it; longer than :attr:`max_tokens` if the text is."""
        return self._tokens.part(ids)

    def is_reading(self, ids: Sequence[int]) -> bool:
        """Whether ids of the vocabulary are how this model's tokenizer reads some text."""
        return self._tokens.is_reading(ids)

    def cut(self, ids: list[int]) -> list[int]:
        """The ids of a text, cut at :attr:`max_tokens` as the tokenizer cuts: special tokens stay."""
        return self._tokens.cut(ids)

    def embed(self, ids: Sequence[Sequence[int]], sizes: Sequence[int | None]) -> list[Vector]:
        """Vectors of texts, each of its own size, from one pass of the backbone; several where they are more than a pass holds.

        Args:
            ids: per text, as :meth:`tokenize` gives them, and cut.
            sizes: per text; None for the default.

        Returns:
            float32 (size,) per text, in the order given.
        """
        return self._student.embed_ids(ids, [self.default_size if size is None else size for size in sizes])

    def warm_up(self) -> None:
        """Embed a short text and a full batch in each size, so that the first clients wait for nothing.

        Raises:
            MtdError: the longest text does not fit into memory.
        """
        most = min(self.max_tokens, self.batch_tokens)
        (short,), (long,) = self.tokenize(["ok"]), self.tokenize(["ok " * most])
        rows = max(self.batch_tokens // most, len(self.sizes))
        self.embed([short], [None])
        self.embed([long[:most]] * rows, [self.sizes[row % len(self.sizes)] for row in range(rows)])


def _on_cpu(device: str | None) -> bool:
    return torch.device(device).type == "cpu" if device else not torch.cuda.is_available()
