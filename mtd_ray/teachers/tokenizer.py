"""Exact token counts, where the provider's tokenizer is public and can be had on this machine."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence

import httpx

from mtd_ray.config import ApiTeacher, catalog
from mtd_ray.teachers.batches import ADDED_TOKENS, TokenCount, TokenEstimate

_log = logging.getLogger(__name__)

_PATIENCE_S = 10.0
_KNOCK_S = 3.0
_MARGIN = 1.1

_Count = Callable[[str], int]
_loaded: dict[str, _Count | None] = {}
_loading = threading.Lock()


class ExactTokens:
    """Counts with the provider's own tokenizer.

    Args:
        count: tokens of one text.
    """

    def __init__(self, count: _Count) -> None:
        self._count = count
        self._margin = _MARGIN

    def of(self, text: str) -> int:
        return max(1, self._count(text))

    def most(self, texts: Sequence[str], counted: int) -> int:
        """A tenth more than counted, or as much more as the provider was seen to find, and what it may add to each text."""
        return math.ceil(self._margin * counted) + ADDED_TOKENS * len(texts)

    def correct(self, texts: Sequence[str], counted: int, tokens: int) -> None:
        if counted > 0:
            self._margin = max(self._margin, (tokens - ADDED_TOKENS * len(texts)) / counted)


def token_count(teacher: ApiTeacher) -> TokenCount:
    """Exact counts for a model whose tokenizer the catalogue names, else an estimate. The first call may take some seconds."""
    name = catalog().model(teacher.provider, teacher.model).tokenizer
    count = _tokenizer(name) if name else None
    return TokenEstimate() if count is None else ExactTokens(count)


def _tokenizer(name: str) -> _Count | None:
    """The counting function of a tokenizer, loaded once per process; None when it cannot be had."""
    with _loading:
        if name not in _loaded:
            _loaded[name] = _loaded_in_time(name)
        return _loaded[name]


def _loaded_in_time(name: str) -> _Count | None:
    """Load in a thread: the packages wait for a network that does not answer for as long as it takes."""
    found: list[_Count] = []
    reason = [f"not there after {_PATIENCE_S:.0f} s"]

    def load() -> None:
        try:
            found.append(_load(name))
        except Exception as error:  # whatever the packages raise: counts are then estimated
            reason[0] = f"{type(error).__name__}: {error}"

    thread = threading.Thread(target=load, name=f"load-{name}", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if found:
        return found[0]
    _log.info("tokenizer %s cannot be had (%s); tokens are estimated and corrected by what the provider counts", name, reason[0])
    return None


def _load(name: str) -> _Count:
    source, _, what = name.partition(":")
    if source == "tiktoken":
        return _tiktoken(what)
    if source == "hub":
        return _hub(what)
    raise ValueError(f"a tokenizer is tiktoken:NAME or hub:OWNER/NAME, not {name!r}")


def _tiktoken(name: str) -> _Count:
    import tiktoken

    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


def _hub(repository: str) -> _Count:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(_hub_file(repository, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text))


def _hub_file(repository: str, name: str) -> str:
    """Path of a hub file: from the cache, else fetched into it. The hub is knocked at first, because its package goes on asking
    for half a minute, and warns each time, where there is no network."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return hf_hub_download(repository, name, local_files_only=True)
    except LocalEntryNotFoundError:
        if constants.HF_HUB_OFFLINE:
            raise
    httpx.head(constants.ENDPOINT, timeout=_KNOCK_S)
    return hf_hub_download(repository, name)
