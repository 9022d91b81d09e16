"""One form for every text; what is empty, too long, a duplicate, or part of an evaluation is left out."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mtd_ray.config import CorpusConfig, Kind
from mtd_ray.errors import CorpusError

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ufeff]")
_LINE_BREAK = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_BREAK = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")
_NOT_SEEN_AT_ENDS = "\u200b\u200c\u200d\u2060 \n"


class RawText(NamedTuple):
    """A text as its source holds it. ``where`` names file and row for a person."""

    text: str | None
    kind: Kind
    where: str


class CleanText(NamedTuple):
    """A row of the corpus. ``id`` is 24 hex characters (96 bits) of the sha256 of kind and text."""

    id: str
    text: str
    kind: Kind


def normalise(text: str) -> str:
    """Unicode NFC; no control characters; one space for a run of blanks, at most one empty line in a row; nothing at the ends."""
    text = unicodedata.normalize("NFC", _CONTROL.sub("", text))
    text = _AROUND_BREAK.sub("\n", _SPACES.sub(" ", _LINE_BREAK.sub("\n", text)))
    return _BLANK_LINES.sub("\n\n", text).strip(_NOT_SEEN_AT_ENDS)


def content_key(text: str) -> int:
    """64-bit hash of a normalised text without regard to case and line breaks: texts with equal keys are duplicates."""
    folded = " ".join(text.casefold().split())
    return int.from_bytes(hashlib.blake2b(folded.encode(), digest_size=8).digest(), "little")


class Cleaner:
    """Cleans a stream of texts, in order; of several equal texts the first stays.

    Memory: one 64-bit key per kept text in a Python set, about 70 bytes (7 GB for 100 million texts). At that size the chance that
    two different texts share a key, and one is lost, is 1 in 3,700.

    Args:
        config: ``max_chars``, ``long_texts`` and ``limit`` are used.
        evaluation: keys (:func:`content_key`) of the texts that must not be trained on.
        known: keys of the texts that are in the corpus already.
    """

    def __init__(self, config: CorpusConfig, evaluation: Iterable[int] = (), known: Iterable[int] = ()) -> None:
        self._config = config
        self._evaluation = frozenset(evaluation)
        self._seen = set(known)
        self.counts = Counter[str](read=0, kept=0, empty=0, too_long=0, duplicate=0, evaluation=0)

    def clean(self, texts: Iterable[RawText]) -> Iterator[CleanText]:
        """The texts that are left, at most ``limit``. CorpusError for a text that is too long under ``long_texts: error``."""
        limit = self._config.limit
        for raw in texts:
            self.counts["read"] += 1
            text, fate = self._judge(raw)
            self.counts[fate] += 1
            if text is not None:
                yield CleanText(_id_of(raw.kind, text), text, raw.kind)
            if limit is not None and self.counts["kept"] >= limit:
                return

    def _judge(self, raw: RawText) -> tuple[str | None, str]:
        whole = normalise(raw.text or "")
        if not whole:
            return None, "empty"
        text = fit(whole, self._config, raw.where)
        if text is None:
            return None, "too_long"
        key = content_key(text)
        if key in self._evaluation or (text is not whole and content_key(whole) in self._evaluation):
            return None, "evaluation"
        if key in self._seen:
            return None, "duplicate"
        self._seen.add(key)
        return text, "kept"


def fit(text: str, config: CorpusConfig, where: str) -> str | None:
    """Apply ``long_texts`` to a normalised text: the text, its beginning, or None when it is to be left out."""
    if len(text) <= config.max_chars:
        return text
    if config.long_texts == "error":
        raise CorpusError(
            f"{where}: a text of {len(text):,} characters is over corpus.max_chars ({config.max_chars:,}); raise max_chars, "
            "or set corpus.long_texts to 'cut' or 'drop'"
        )
    return text[: config.max_chars].rstrip() if config.long_texts == "cut" else None


def _id_of(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}\0{text}".encode()).hexdigest()[:24]
