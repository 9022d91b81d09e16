"""How long texts are before anything is cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from mtd_ray.errors import MtdError
from serve.schemas import ApiError


class Tokens:
    """The exported folder's tokenizer, without truncation. Safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._size = tokenizer.get_vocab_size(with_added_tokens=True)

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Read ``tokenizer.json``.

        Raises:
            MtdError: the folder has none.
        """
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise MtdError(f"{folder} is not an exported student: {file.name} is missing")
        return cls(Tokenizer.from_file(str(file)))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def text(self, ids: Sequence[int]) -> str:
        """The text that token ids stand for; special tokens among them are left out, as they are added again later.

        Raises:
            ApiError: an id is not in the vocabulary.
        """
        for token in ids:
            if token >= self._size:
                raise ApiError(
                    f"token id {token} is not in this model's vocabulary of {self._size}; ids must come from its own tokenizer "
                    "(or send the text itself)",
                    param="input",
                )
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
