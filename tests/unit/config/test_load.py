"""A wrong recipe is refused with file, key and the nearest valid name, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtd_ray.config import LastLayers, OpenAITeacher, load_recipe
from mtd_ray.errors import RecipeError

SOUND = """
name: sound
storage: s3://bucket/prefix
corpus: {source: {format: docstrings}}
teachers:
  small: {provider: local, model: some/model, dimensions: 4}
  paid: {provider: openai, model: text-embedding-3-small, dimensions: 4, api_key: env:PAID_KEY}
student: {model: some/backbone, layers: [0, 2], heads: [8, 4]}
stages:
  - name: heads
    trainable: heads
    heads: {8: {cosine: 10, similarity: 200, ranking: 20}, 4: {similarity: 200}}
    lr: 1e-4
    steps: 5
    batch_size: 8
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "sound.yaml"
    path.write_text(SOUND)
    return path


def test_a_sound_recipe_loads(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe.storage.url == "s3://bucket/prefix"
    assert recipe.stages[0].lr == 1e-4
    assert recipe.stages[0].heads[8].ranking == 20
    assert recipe.target_dimensions(recipe.used_teachers) == 8
    assert recipe.student.export_head == 8


def test_overrides_reach_mappings_lists_and_number_keys(recipe_file: Path) -> None:
    overrides = [
        "stages.0.steps=7", "stages.0.trainable={last: 2}", "stages.0.heads.4.ranking=3", "storage.endpoint=http://localhost:1",
    ]  # fmt: skip
    recipe = load_recipe(recipe_file, overrides)
    assert recipe.stages[0].steps == 7
    assert recipe.stages[0].trainable == LastLayers(last=2)
    assert recipe.stages[0].heads[4].ranking == 3
    assert (recipe.storage.url, recipe.storage.endpoint) == ("s3://bucket/prefix", "http://localhost:1")


@pytest.mark.parametrize(
    ("override", "key", "hint"),
    [
        ("trian.workers=2", "trian", "did you mean 'train'?"),
        ("train.workes=2", "train.workes", "did you mean 'workers'?"),
        ("stages.0.heads.8.cosin=3", "stages.0.heads.8.cosin", "did you mean 'cosine'?"),
        ("teachers.small.dimension=4", "teachers.small.dimension", "did you mean 'dimensions'?"),
        ("teachers.small.provider=locla", "teachers.small", "did you mean 'local'?"),
        ("corpus.source.format=jsnl", "corpus.source", "did you mean 'jsonl'?"),
        ("corpus.source.pakages=[a]", "corpus.source.pakages", "did you mean 'packages'?"),
        ("train.workers=two", "train.workers", "valid integer (given: 'two')"),
        ("train.workers=0", "train.workers", "greater than or equal to 1"),
        ("stages.0.lr=.nan", "", "not JSON compliant"),
        ("stages.0.trainable=haeds", "stages.0.trainable", "'heads' or 'all'"),
        ("stages.0.heads={}", "stages.0.heads", "at least 1 item"),
        ("stages.0.heads.4.cosine=3", "stages.0.heads.4", "target of size 8 (small 4 + paid 4)"),
        ("stages.0.heads={16: {similarity: 1}}", "stages.0.heads.16", "the student has no such head"),
        ("stages.0.heads={8: {}}", "stages.0.heads.8", "trains nothing"),
        ("stages.0.heads.4={}", "stages.0.heads.4", "trains nothing"),
        ("train.workers=9", "stages.0.batch_size", "8 rows cannot be dealt to the 9 workers"),
        ("teachers.paid.quota={tokens_per_minute: 500}", "teachers.paid.quota.tokens_per_minute", "max_tokens: 8192"),
        ("student.prompts={querys: x}", "student.prompts.querys", "did you mean 'query'?"),
        ("corpus.source={format: jsonl, path: x}", "evaluate.pairs", "needs something to be measured on"),
        ("stages.0.teachers=[smal]", "stages.0.teachers", "did you mean 'small'?"),
        ("stages.0.trainable={last: 3}", "stages.0.trainable.last", "the student has 2"),
        ("student.default_head=5", "student", "not one of the heads"),
        ("student.heads=[8, 8]", "student.heads", "stands twice"),
        ("teachers.small.trust_remote_code=true", "teachers.small", "pinned 'revision'"),
        ("storage=relative/folder", "storage.url", "absolute folder"),
        ("stages.3.steps=1", "'stages.3.steps'", "'3' is no element of a list of 1"),
        ("stages.3=1", "'stages.3'", "'3' is no element of a list of 1"),
        ("stages.first.steps=1", "'stages.first.steps'", "'first' is no element"),
        ("student.heads.0.x=1", "student.heads.0", "nothing below it"),
        ("student.layers.0.x=1", "student.layers.0", "nothing below it"),
        ("student.heads.0.a.b=1", "student.heads.0", "nothing below it"),
        ("student.model.x=1", "student.model", "nothing below it"),
        ("seed=2024-13-45", "'seed'", "not valid YAML"),
        ("seed={? [a] : 1}", "'seed'", "not valid YAML"),
        ("stages.0.steps", "stages.0.steps", "key.path=value"),
        ("stages.0.trainable=7", "stages.0.trainable", "write heads, all, {last: 3}, {layers: [4, 7]}, or {progressive: [...]}"),
        ("stages.0.trainable={last: 1, layers: [0, 1]}", "stages.0.trainable", "write heads, all, {last: 3}"),
        ("stages.0.trainable={last: 0}", "stages.0.trainable.last", "greater than or equal to 1 (given: 0)"),
        ("stages.0.trainable={layers: [1, 0]}", "stages.0.trainable", "the first layer, 1, comes after the last one, 0"),
        ("stages.0.trainable={layers: [0, 2]}", "stages.0.trainable.layers", "2 layers are numbered from 0 to 1"),
        ("stages.0.trainable={progressive: [heads]}", "stages.0.trainable.progressive", "at least 2 items"),
        ("stages.0.trainable={progressive: [heads, al]}", "stages.0.trainable.progressive.1", "'heads' or 'all' (given: 'al')"),
        ("stages.0.trainable={progressive: [heads, {last: 3}]}", "stages.0.trainable.progressive.1.last", "the student has 2"),
        ("stages.0.trainable={progressive: [heads, all, all]}", "stages.0.trainable.progressive.2", "the same as the part before"),
        (
            "stages.0.trainable={progressive: [heads, all, heads, all, heads, all]}",
            "stages.0.trainable.progressive",
            "6 parts cannot share 5 steps",
        ),
        ("stages.0.heads.4.target=cutt", "stages.0.heads.4.target", "'whole', 'cut' or 'pca'"),
        ("stages.0.heads.4.target=cut", "stages.0.heads.4.target", "only cosine, angular and l2 compare a vector"),
        ("stages.0.heads.4.target=pca", "stages.0.heads.4.target", "only cosine, angular and l2 compare a vector"),
        ("stages.0.heads.4={spread: 1}", "stages.0.heads.4", "spread alone learns nothing"),
        ("stages.0.batch_size=2", "stages.0.batch_size", "2 texts make only one; write at least 3"),
        ("student.heads=[8, 4, 2]", "student.heads", "no stage trains size 2"),
        ("teachers.small.target_dimensions=5", "teachers.small", "more than the dimensions harvested, 4"),
        ("teachers.small.target_shorten=fold", "teachers.small.target_shorten", "nothing is shortened without target_dimensions"),
        ("train.trackers=[wandbb]", "train.trackers.0", "'wandb', 'mlflow' or 'trackio'"),
        ("train.trackers=[wandb, wandb]", "train.trackers", "stands twice"),
        ("train.evaluate_checkpoints=true", "train.evaluate_checkpoints", "write train.checkpoint_every: 500"),
        ("train.keep_checkpoints=0", "train.keep_checkpoints", "greater than or equal to 1"),
        ("train.spot=gcp", "train.spot", "'aws'"),
    ],
)
def test_a_wrong_value_names_its_key_and_the_way_out(recipe_file: Path, override: str, key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [override])
    assert key in str(caught.value)
    assert hint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("overrides", "key", "hint"),
    [
        (["student.heads=[16, 8, 4]", "stages.0.heads.16={l2: 1, target: pca}"], "stages.0.heads.16.target", "only 8 directions"),
        (["student.heads=[8, 3]", "stages.0.heads={8: {cosine: 1}, 3: {cosine: 1, target: cut}}"], "stages.0.heads.3", "3 of 8"),
        (["stages.0.heads.4={cosine: 1, target: cut}", "student.matryoshka=nested"], "stages.0.heads.4.target", "small 2 + paid 2"),
        (["stages.0.heads.4={cosine: 1, target: pca}", "student.matryoshka=nested"], "stages.0.heads.4.target", "directions (pca)"),
        (["student.heads=[9]", "student.matryoshka=nested", "stages.0.heads={9: {l2: 1}}"], "stages.0.heads.9", "size 8 (small"),
        (["student.heads=[7, 4]", "teachers.paid.target_dimensions=3", "teachers.paid.target_shorten=fold",
          "stages.0.heads={7: {cosine: 1}, 4: {similarity: 1}}"], "teachers.paid.target_shorten", "one whole chunk of 3"),
        (["corpus.source={format: jsonl, path: x}", "evaluate.heldout=false", "train.evaluate_checkpoints=true",
          "train.checkpoint_every=5"], "train.evaluate_checkpoints", "name some in evaluate.pairs"),
    ],
)  # fmt: skip
def test_an_impossible_combination_is_refused(recipe_file: Path, overrides: list[str], key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert f"{key}: " in str(caught.value)
    assert hint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_secret_given_by_value_is_refused_and_not_repeated(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["teachers.paid.api_key=sk-very-secret"])
    assert "env:NAME" in str(caught.value)
    assert "sk-very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("twin", "message"),
    [
        (
            "{provider: local, model: some/model, dimensions: 4}",
            "same vectors as teachers.small, from one target store; leave one out",
        ),
        ("{provider: openai, model: text-embedding-3-small, dimensions: 4, base_url: 'http://other/v1'}", "its own 'revision'"),
    ],
)
def test_two_teachers_that_would_silently_be_one_are_refused(recipe_file: Path, twin: str, message: str) -> None:
    overrides = ["stages.0.teachers=[small, paid]", f"teachers.twin={twin}"]
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    assert message in str(caught.value)
    load_recipe(recipe_file, [*overrides, "teachers.twin.revision=second"])


@pytest.mark.parametrize("key", ["teachers.paid.base_url", "storage.endpoint"])
@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000", "ftp://host", "http://", "http://:80", "http://host:port", "http://host:99999", "http://a b",
        "http://[::1", "http://me:hidden@host/v1", "https://host/v1?key=hidden", "hidden",
    ],
)  # fmt: skip
def test_an_address_is_http_with_a_host_and_holds_no_secret(recipe_file: Path, key: str, address: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, [f"{key}={json.dumps(address)}"])
    assert f"{key}: " in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["student.prompts={query: a, s2p_query: b}"],
        ["corpus.source={format: jsonl, path: x}", "evaluate.heldout=false"],
        ["corpus.source={format: jsonl, path: x}", "evaluate.pairs={mine: x}"],
        ["teachers.paid.quota={tokens_per_minute: 500}", "teachers.paid.max_tokens=500"],
        ["teachers.paid.base_url='http://[::1]:8000/v1'"],
        ["train.workers=8"],
        ["train.trackers=[wandb, trackio]", "train.evaluate_checkpoints=true", "train.checkpoint_every=500"],
        ["stages.0.trainable={progressive: [heads, {layers: [1, 1]}, {last: 2}, all]}"],
        ["stages.0.heads.4={cosine: 1, target: cut}"],
        ["stages.0.heads={8: {l2: 1, target: pca}, 4: {angular: 1, target: pca}}", "student.matryoshka=nested"],
        ["stages.0.heads={8: {cosine: 1}, 4: {cosine: 1, target: cut}}", "student.matryoshka=nested", "student.heads=[4, 2]",
         "stages.0.teachers=[small]", "stages.0.heads={4: {cosine: 1}, 2: {cosine: 1, target: cut}}"],
        ["stages.0.heads={8: {similarity: 1}}", "student.matryoshka=nested"],
        ["teachers.paid.target_dimensions=2", "teachers.paid.target_shorten=fold", "student.heads=[6, 3]",
         "stages.0.heads={6: {cosine: 1}, 3: {l2: 1, target: cut}}"],
    ],
)  # fmt: skip
def test_a_rule_refuses_no_more_than_it_must(recipe_file: Path, overrides: list[str]) -> None:
    load_recipe(recipe_file, overrides)


def test_every_fault_is_reported_at_once(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["train.workes=2", "stages.0.steps=0", "student.haeds=[1]"])
    assert len(str(caught.value).splitlines()) == 3
    assert all(line.startswith(str(recipe_file)) for line in str(caught.value).splitlines())


def test_a_key_given_twice_is_an_error(recipe_file: Path) -> None:
    recipe_file.write_text(SOUND + "name: again\n")
    with pytest.raises(RecipeError, match="'name' stands twice"):
        load_recipe(recipe_file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("? [a, b]\n: 1\n", "a key is text or a whole number, not a list or a mapping"),
        ("2024-01-01: 1\n", "not '2024-01-01', read as timestamp; put quotes around it"),
        ("yes: 1\n", "not 'yes', read as bool"),
        ("seed: 2024-13-45\n", "not valid YAML: month must be"),
        ("train: {8: 1, '8': 2}\n", "the key '8' stands twice"),
    ],
)
def test_a_key_or_value_that_no_recipe_can_hold_is_one_line(recipe_file: Path, line: str, message: str) -> None:
    recipe_file.write_text(SOUND + line)
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_anchors_and_merges_save_repeating_a_stage(recipe_file: Path) -> None:
    text = SOUND.replace("  - name: heads", "  - &first\n    name: heads")
    recipe_file.write_text(text + "  - &second {<<: *first, name: more, steps: 9}\n  - {<<: *second, name: last}\n")
    first, second, last = load_recipe(recipe_file, ["stages.0.lr=0.5", "stages.0.heads.4.ranking=1"]).stages
    assert [(stage.name, stage.steps, stage.lr) for stage in (first, second, last)] == [
        ("heads", 5, 0.5), ("more", 9, 1e-4), ("last", 9, 1e-4),
    ]  # fmt: skip
    assert [stage.heads[4].ranking for stage in (first, second, last)] == [1, 0, 0]


def test_a_missing_file_names_its_neighbour(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"did you mean .*sound\.yaml"):
        load_recipe(recipe_file.with_name("sond.yaml"))


def test_yaml_that_does_not_parse_is_one_line(recipe_file: Path) -> None:
    recipe_file.write_text("name: [unclosed")
    with pytest.raises(RecipeError, match="not valid YAML") as caught:
        load_recipe(recipe_file)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_what_decides_the_student(recipe_file: Path) -> None:
    name = load_recipe(recipe_file).run_name
    same = [
        "storage=s3://elsewhere/x",
        "train.workers=4",
        "teachers.paid.base_url=http://localhost:9/v1",
        "teachers.small.batch_tokens=64",
        "evaluate.baselines=false",
        "student.license=mit",
        "student.base_model_name=some/name",
        "teachers.small.license=mit",
        "teachers.small.target_dimensions=4",
        "stages.0.teachers=[small, paid]",
        "train.keep_checkpoints=9",
        "train.trackers=[trackio]",
        "train.spot=aws",
        "train.micro_batch_tokens=64",
    ]
    other = [
        "seed=1",
        "stages.0.heads.4.similarity=1",
        "teachers.small.weight=2.0",
        "teachers.small.prompts={query: 'q: '}",
        "corpus.limit=9",
        "stages.0.teachers=[paid, small]",
        "stages.0.trainable={progressive: [heads, all]}",
        "student.matryoshka=nested",
    ]
    assert {load_recipe(recipe_file, [o]).run_name for o in same} == {name}
    assert len({load_recipe(recipe_file, [o]).run_name for o in other} | {name}) == len(other) + 1


def test_the_fingerprint_follows_how_a_target_is_shortened(recipe_file: Path) -> None:
    shorter = ["student.heads=[6]", "stages.0.heads={6: {cosine: 1}}", "teachers.paid.target_dimensions=2"]
    cut, fold = (load_recipe(recipe_file, [*shorter, f"teachers.paid.target_shorten={how}"]) for how in ("cut", "fold"))
    assert cut.run_name != fold.run_name


def test_a_misspelled_form_of_trainable_is_told_of_alone(recipe_file: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["stages.0.trainable={progresive: [heads, all]}"])
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [
        "stages.0.trainable.progressive: this key is required",
        "stages.0.trainable.progresive: unknown key; did you mean 'progressive'?",
    ]


def test_a_teacher_that_no_stage_uses_is_not_in_the_fingerprint(recipe_file: Path) -> None:
    third = "teachers.third={provider: local, model: a/third, dimensions: 4}"
    named = ["stages.0.teachers=[small, paid]"]
    recipe = load_recipe(recipe_file, [*named, third])
    assert recipe.used_teachers == ("small", "paid")
    assert recipe.run_name == load_recipe(recipe_file, named).run_name
    all_three = ["student.heads=[12]", "stages.0.heads={12: {cosine: 1}}"]
    assert load_recipe(recipe_file, [*all_three, third]).used_teachers == ("small", "paid", "third")


def test_a_recipe_is_frozen(recipe_file: Path) -> None:
    teacher = load_recipe(recipe_file).teachers["paid"]
    assert isinstance(teacher, OpenAITeacher)
    with pytest.raises(ValueError, match="frozen"):
        teacher.model = "other"  # type: ignore[misc]
