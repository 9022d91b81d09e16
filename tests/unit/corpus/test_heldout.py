from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mtd_ray.config import CorpusConfig, DocstringSource
from mtd_ray.corpus.heldout import Pair, divide_docstrings
from mtd_ray.corpus.modules import installed_modules
from mtd_ray.errors import CorpusError
from tests.unit.corpus.conftest import Install, module_source


@pytest.fixture
def fake_docs(install: Install) -> None:
    install("fake-docs", {f"fake/m{number}.py": module_source(number) for number in range(10)})


def _divide(
    packages: tuple[str, ...], heldout_pairs: int, seed: int = 0, heldout: bool = True
) -> tuple[list[Pair], list[str], set[str]]:
    source = DocstringSource(format="docstrings", packages=packages, heldout_pairs=heldout_pairs)
    pairs, texts = divide_docstrings(source, CorpusConfig(source=source), seed, heldout)
    rows = list(texts)
    return pairs, [str(row.text) for row in rows], {Path(row.where.rsplit(":", 1)[0]).name for row in rows}


@pytest.mark.usefixtures("fake_docs")
def test_whole_modules_are_held_out() -> None:
    pairs, texts, modules = _divide(("Fake_Docs",), 7)
    assert len(pairs) == 7
    assert len(modules) == 7
    assert len(texts) == 7 * 3 * 2
    assert not {text for pair in pairs for text in pair} & set(texts)
    assert all(pair.query.split()[2] == pair.passage.split()[2] for pair in pairs)


@pytest.mark.usefixtures("fake_docs")
def test_the_seed_alone_decides() -> None:
    assert _divide(("fake-docs",), 5) == _divide(("fake-docs",), 5)
    assert _divide(("fake-docs",), 5)[0] != _divide(("fake-docs",), 5, seed=1)[0]


@pytest.mark.usefixtures("fake_docs")
def test_without_evaluation_all_modules_are_trained_on() -> None:
    pairs, texts, _ = _divide(("fake-docs",), 5, heldout=False)
    assert (pairs, len(texts)) == ([], 60)


def test_summaries_kinds_and_places(install: Install) -> None:
    install("one-doc", {"one.py": module_source(0, 1)})
    source = DocstringSource(format="docstrings", packages=("one-doc",))
    _, texts = divide_docstrings(source, CorpusConfig(source=source), 0, heldout=False)
    query, passage = texts
    assert (query.kind, passage.kind) == ("query", "passage")
    assert query.where.endswith("one.py:1")


def test_ambiguous_pairs_are_not_used(install: Install) -> None:
    same_summary = module_source(0).replace("birch here", "amber here").replace("cedar here", "amber here")
    install(
        "ambiguous",
        {
            "a.py": same_summary,
            "b.py": module_source(0, 1).replace("here.", "there."),
            "c.py": module_source(1),
            "d.py": module_source(2),
        },
    )
    pairs, _, _ = _divide(("ambiguous",), 6)
    assert {pair.query.split()[2] for pair in pairs} == {"birch", "cedar"}


@pytest.mark.usefixtures("fake_docs")
def test_too_few_pairs_are_reported() -> None:
    with pytest.raises(CorpusError, match=r"only 30 evaluation pairs.*heldout_pairs asks for 31"):
        _divide(("fake-docs",), 31)


@pytest.mark.usefixtures("fake_docs")
def test_an_unknown_package_is_reported_with_the_nearest() -> None:
    with pytest.raises(CorpusError, match=r"'fake-doc' is not installed; did you mean 'fake-docs'\?"):
        _divide(("fake-doc",), 1)


def test_modules_do_not_depend_on_the_order_of_files_and_skip_tests(install: Install) -> None:
    files = {"p/b.py": "", "p/a.py": "", "p/tests/t.py": "", "p/_vendor/v.py": "", "p/data.txt": ""}
    install("first", files)
    install("second", dict(reversed(files.items())))
    names = [[module.name.partition("/")[2] for module in installed_modules([name], 3)] for name in ("first", "second")]
    assert sorted(names[0]) == sorted(names[1]) == ["gone.py", "p/a.py", "p/b.py"]
    assert [module.name for module in installed_modules(["first"], 3)] == [
        module.name for module in installed_modules(["first"], 3)
    ]


def test_modules_are_not_imported(install: Install) -> None:
    install("dangerous", {"dangerous_module.py": "raise SystemExit('imported')\n" + module_source(3)})
    assert len(_divide(("dangerous",), 1, heldout=False)[1]) == 6
    assert "dangerous_module" not in sys.modules
