"""Docstrings divided by whole modules: some give evaluation pairs, the others the texts to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mtd_ray.config import CorpusConfig, DocstringSource
from mtd_ray.corpus.clean import RawText, content_key, fit, normalise
from mtd_ray.corpus.docstrings import Docstring, docstrings_of
from mtd_ray.corpus.modules import Module, installed_modules
from mtd_ray.errors import CorpusError

_PAIRS_PER_MODULE = 8
_OPENING = 100


class Pair(NamedTuple):
    """An evaluation pair: the passage answers the query."""

    query: str
    passage: str


class _Candidate(NamedTuple):
    pair: Pair
    query_key: int
    opening_key: int


def divide_docstrings(
    source: DocstringSource, config: CorpusConfig, seed: int, heldout: bool
) -> tuple[list[Pair], Iterator[RawText]]:
    """Evaluation pairs, and the texts of all other modules as a stream that parses no more modules than are asked for.

    Modules come in an order drawn by ``seed``; the first ones are held out until they give ``source.heldout_pairs`` pairs, at most
    eight each. A pair is used only if no other docstring of the held-out modules has its summary or opens like its body.

    Raises:
        CorpusError: a named package is not installed, or all modules together give too few pairs.
    """
    modules = _read(installed_modules(source.packages, seed))
    pairs = _heldout_pairs(modules, source.heldout_pairs, config) if heldout else []
    return pairs, _texts(modules)


def _read(modules: Iterable[Module]) -> Iterator[tuple[Module, list[Docstring]]]:
    for module in modules:
        try:
            data = module.path.read_bytes()
        except OSError:
            continue  # a record may name files that were removed since
        if found := docstrings_of(data):
            yield module, found


def _heldout_pairs(modules: Iterator[tuple[Module, list[Docstring]]], wanted: int, config: CorpusConfig) -> list[Pair]:
    candidates: list[_Candidate] = []
    uses: Counter[int] = Counter()
    unique: list[_Candidate] = []
    for module, docstrings in modules:
        found = [candidate for docstring in docstrings if (candidate := _candidate(docstring, module, config)) is not None]
        uses.update(key for candidate in found for key in (candidate.query_key, candidate.opening_key))
        # By hash, so that a large module is not represented by its first functions.
        candidates += sorted(found, key=lambda candidate: candidate.query_key)[:_PAIRS_PER_MODULE]
        unique = [candidate for candidate in candidates if uses[candidate.query_key] == uses[candidate.opening_key] == 1]
        if len(unique) >= wanted:
            return [candidate.pair for candidate in unique[:wanted]]
    raise CorpusError(
        f"the installed packages give only {len(unique)} evaluation pairs, corpus.source.heldout_pairs asks for {wanted} and more "
        "modules are needed to train on: lower it, or name more packages"
    )


def _candidate(docstring: Docstring, module: Module, config: CorpusConfig) -> _Candidate | None:
    where = f"{module.path}:{docstring.line}"
    query, passage = (fit(normalise(text), config, where) for text in (docstring.summary, docstring.body))
    if not query or not passage:
        return None
    return _Candidate(Pair(query, passage), content_key(query), content_key(f"opening {passage[:_OPENING]}"))


def _texts(modules: Iterator[tuple[Module, list[Docstring]]]) -> Iterator[RawText]:
    for module, docstrings in modules:
        for docstring in docstrings:
            where = f"{module.path}:{docstring.line}"
            yield RawText(docstring.summary, "query", where)
            yield RawText(docstring.body, "passage", where)
