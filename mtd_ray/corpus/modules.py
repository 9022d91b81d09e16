"""The Python modules that are installed in this environment, found in the records of the installed distributions."""

from __future__ import annotations

import csv
import difflib
import hashlib
import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtd_ray.errors import CorpusError

_OWN_NAME = "mtd-ray"
_SKIPPED_FOLDERS = frozenset({"test", "tests", "_vendor", "_vendored", "vendor", "vendored"})


@dataclass(frozen=True)
class Module:
    """A Python source file. ``name`` is ``distribution/path``, the same on every machine that has the distribution."""

    name: str
    path: Path


def installed_modules(packages: Iterable[str], seed: int) -> list[Module]:
    """Modules in an order drawn by ``seed``: by hash of their names, so that no file system's order shows.

    Tests and copies of other projects (``_vendor``) are left out, and so is this project.

    Args:
        packages: names of distributions; empty means all that are installed.

    Raises:
        CorpusError: a named distribution is not installed.
    """
    found = _distributions()
    names = [_canonical(name) for name in packages] or [name for name in found if name != _OWN_NAME]
    for name in names:
        if name not in found:
            close = difflib.get_close_matches(name, found, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else "pip list shows what is"
            raise CorpusError(f"corpus.source.packages: {name!r} is not installed; {hint}")
    modules = {module.path: module for name in sorted(set(names)) for module in _modules_of(name, found[name])}
    return sorted(modules.values(), key=lambda module: (hashlib.sha256(f"{seed}\0{module.name}".encode()).digest(), module.name))


def _distributions() -> dict[str, importlib.metadata.Distribution]:
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        # A broken installation has no name; of two installations of one name Python imports the first.
        if name := distribution.metadata["Name"]:
            found.setdefault(_canonical(name), distribution)
    return found


def _modules_of(name: str, distribution: importlib.metadata.Distribution) -> Iterator[Module]:
    for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        if row and row[0].endswith(".py"):
            parts = row[0].split("/")
            if ".." not in parts and _SKIPPED_FOLDERS.isdisjoint(parts):
                yield Module(f"{name}/{row[0]}", Path(str(distribution.locate_file(row[0]))))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
