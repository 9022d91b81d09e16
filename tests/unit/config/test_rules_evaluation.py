"""What is measured, what is required, and on whose terms: faults that would otherwise show only after the money is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.config import load_recipe
from mtd_ray.errors import RecipeError


@pytest.mark.parametrize(
    ("overrides", "key", "hint"),
    [
        (["teachers.small.license=cc-by-nc-4.0"], "teachers.small.license", "write export.accept_non_commercial: true"),
        (["student.license=cc-by-nc-sa-4.0"], "student.license", "follows the student"),
        (["corpus.source={format: jsonl, path: x}"], "evaluate.pairs", "or tasks that mteb knows in evaluate.tasks"),
        (["evaluate.data=/data"], "evaluate.data", "nothing is read from it"),
        (["evaluate.pairs={mine: x}", "evaluate.own={mine: {type: sts, path: y}}"], "evaluate", "'mine' names 2 tasks"),
        (["evaluate.tasks=[SciFact, SciFact]"], "evaluate", "'SciFact' names 2 tasks"),
        (["evaluate.forms=[int8, int8]"], "evaluate.forms", "stands twice"),
        (["evaluate.prompts={STS: qury}", "student.prompts={query: 'q '}"], "evaluate.prompts.STS", "did you mean 'query'?"),
        (["evaluate.prompts={Retreival-query: query}", "student.prompts={query: 'q '}"], "evaluate.prompts.Retreival-query",
         "did you mean 'Retrieval-query'?"),
        (["evaluate.tasks=[SciFact]", "evaluate.prompts={Scifact: query}", "student.prompts={query: 'q '}"],
         "evaluate.prompts.Scifact", "did you mean 'SciFact'?"),
        (["evaluate.prompts={STS-quary: query}", "student.prompts={query: 'q '}"], "evaluate.prompts.STS-quary",
         "did you mean 'STS-query'?"),
        (["require.heads={5: 0.9}"], "require.heads.5", "no such head; it has [8, 4]"),
        (["require.heads={8: 0.9}"], "require.heads.8", "the largest head"),
        (["require.retained=0.9", "evaluate.baselines=false"], "require.retained", "teachers are not measured"),
        (["require.gap_closed=0.9", "evaluate.baselines=false"], "require.gap_closed", "leave one of the two out"),
        (["require.retained=0.9", "evaluate.heldout=false"], "require", "nothing is measured"),
        (["require.tasks={heldot: 50}"], "require.tasks.heldot", "did you mean 'heldout'?"),
        (["require.tasks={heldout: 0.62}"], "require.tasks.heldout", "write 62"),
        (["require.tasks={SciFact: 0.5}", "evaluate.heldout=false"], "require.tasks.SciFact", "not measured; known: none"),
    ],
)  # fmt: skip
def test_refused(recipe_file: Path, overrides: list[str], key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert f"{recipe_file}: {key}: " in str(caught.value)
    assert hint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["teachers.small.license=cc-by-nc-4.0", "export.accept_non_commercial=true"],
        [
            "teachers.small.license=cc-by-nc-4.0",
            "stages.0.teachers=[paid]",
            "stages.0.heads={8: {similarity: 1}, 4: {similarity: 1}}",
        ],
        ["corpus.source={format: jsonl, path: x}", "evaluate.tasks=[STSBenchmark]"],
        ["corpus.source={format: jsonl, path: x}", "evaluate.benchmarks=['MTEB(eng, v2)']", "require.tasks={SciFact: 60}"],
        ["evaluate.tasks=[SciFact]", "evaluate.data=/data", "require={retained: 0.9, heads: {4: 0.9}, tasks: {SciFact: 60}}"],
        ["evaluate.own={mine: {type: sts, path: y}}", "require.tasks={mine: 60, heldout: 10}"],
        ["evaluate.prompts={SomeTaskOfABenchmark-query: query, query: query}", "student.prompts={query: 'q '}"],
    ],
)
def test_sound(recipe_file: Path, overrides: list[str]) -> None:
    load_recipe(recipe_file, overrides)
