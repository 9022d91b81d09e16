"""Docstrings in Python source, read with ``ast`` and never imported: a summary line, and a body that says more."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_SUMMARY_WORDS = range(4, 31)
_BODY_WORDS = 12
_LONGEST_SUMMARY = 200
_CODE_MARKS = ("->", "=", "::", ">>>", "{", "|", "\\")
_RULE = re.compile(r"^([^\w\s`]|_){3,}$")
_PROMPT = re.compile(r"^(>>>|\.\.\. |\$ |In \[|\.\. )")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]+")
_NO_LETTER = re.compile(r"[^A-Za-z\s]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
_LARGEST_SOURCE = 2_000_000


@dataclass(frozen=True)
class Docstring:
    """``line`` is where the documented object stands in its file."""

    summary: str
    body: str
    line: int


def docstrings_of(source: bytes) -> list[Docstring]:
    """The docstrings of a module, its classes and functions that read as English, in the order of the file.

    One is taken when
    - its first paragraph, the summary, has 4 to 30 words, at most 200 characters and no signs of code, and
    - its body has at least 12 words of prose, prose makes up 60 % of its characters, and 70 % of those are letters or spaces.

    Prose is what stands outside doctests, shell prompts, directives and literal blocks. Lines of dashes are removed.

    A source that does not parse has none.
    """
    if len(source) > _LARGEST_SOURCE or (b'"""' not in source and b"'''" not in source):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(_documented(tree))


def _documented(tree: ast.Module) -> Iterator[Docstring]:
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        # Blocks only: expressions hold no docstrings and are most of the tree.
        blocks = [child for name in _BLOCKS for child in getattr(node, name, ())]
        pending += reversed(blocks)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            found = _split(text) if text else None
            if found is not None:
                yield Docstring(*found, getattr(node, "lineno", 1))


def _split(text: str) -> tuple[str, str] | None:
    summary, _, body = text.replace("\r\n", "\n").partition("\n\n")
    summary = " ".join(summary.split())
    body = "\n".join(line for line in body.split("\n") if not _RULE.match(line.strip()))
    return (summary, body) if _is_summary(summary) and _is_prose(body) and _encodes(text) else None


def _is_summary(summary: str) -> bool:
    return (
        len(summary) <= _LONGEST_SUMMARY
        and summary[:1].isalpha()
        and len(_WORD.findall(summary)) in _SUMMARY_WORDS
        and not any(mark in summary for mark in _CODE_MARKS)
        and _share_of_letters(summary) >= 0.8
    )


def _is_prose(body: str) -> bool:
    prose = "\n".join(_prose_lines(body))
    size = len("".join(body.split()))
    return (
        len(_WORD.findall(prose)) >= _BODY_WORDS and len("".join(prose.split())) >= 0.6 * size and _share_of_letters(prose) >= 0.7
    )


def _prose_lines(body: str) -> Iterator[str]:
    """Lines outside doctests (a prompt and all that follows to the next empty line), fences and indented literal blocks."""
    in_test = in_fence = False
    literal_above: int | None = None
    for line in body.split("\n"):
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if not text:
            in_test = False
            continue
        if literal_above is not None and indent <= literal_above:
            literal_above = None
        if text.startswith("```"):
            in_fence = not in_fence
            continue
        in_test = in_test or bool(_PROMPT.match(text))
        if not (in_test or in_fence or literal_above is not None):
            yield text
            if text.endswith("::"):
                literal_above = indent


def _share_of_letters(text: str) -> float:
    return 1 - len(_NO_LETTER.findall(text)) / max(1, len(text))


def _encodes(text: str) -> bool:
    # A docstring may spell half a surrogate pair, which no file can hold.
    return _SURROGATE.search(text) is None
