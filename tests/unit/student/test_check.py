"""A student that cannot be built is refused before anything starts, without loading its weights."""

from pathlib import Path

import pytest

from mtd_ray import job
from mtd_ray.errors import RecipeError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import check_student
from tests.tiny_models import tiny_bert
from tests.tiny_run import tiny_recipe


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A model of three layers whose weights cannot be read: checking must not need them."""
    folder = Path(tiny_bert(tmp_path / "bert"))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def check(store: ObjectStore, model: object, last: int = 1, trainable: object = None, **student: object) -> None:
    stage = {
        "name": "s",
        "trainable": trainable or {"last": last},
        "heads": {16: {"cosine": 1.0}},
        "lr": 0.1,
        "steps": 1,
        "batch_size": 2,
    }
    check_student(tiny_recipe(store, "", student={"model": str(model), "heads": [16], "max_tokens": 32} | student, stages=[stage]))


def test_a_student_that_fits_passes(local_store: ObjectStore, bert: Path) -> None:
    check(local_store, bert, last=3)
    check(local_store, bert, last=2, layers=[0, 2], max_tokens=64)
    check(local_store, bert, trainable={"progressive": ["heads", {"last": 1}, {"layers": [1, 2]}, "all"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [0, 3]}, r"^student\.layers: .* has layers 0 to 2, not \[3\]"),
        ({"last": 4}, r"^stages\.0\.trainable\.last: 4 layers asked for, the student has 3"),
        ({"last": 2, "layers": [1]}, r"^stages\.0\.trainable\.last: 2 layers asked for, the student has 1"),
        ({"trainable": {"layers": [1, 3]}}, r"^stages\.0\.trainable\.layers: the student has layers 0 to 2, not 3"),
        (
            {"trainable": {"progressive": ["heads", {"last": 2}, {"last": 5}]}},
            r"^stages\.0\.trainable\.progressive\.2\.last: 5 layers asked for, the student has 3",
        ),
        (
            {"trainable": {"progressive": ["heads", {"layers": [0, 2]}]}, "layers": [0, 1]},
            r"^stages\.0\.trainable\.progressive\.1\.layers: the student has layers 0 to 1, not 2",
        ),
        ({"max_tokens": 65}, r"^student\.max_tokens: 65 is more than the 64 tokens"),
        ({"model": "/no/such/folder"}, r"^student\.model: .*does not exist"),
        ({"model": "package:no_such_package/x"}, r"^student\.model: .*no_such_package"),
    ],
)
def test_what_does_not_fit_names_its_key(local_store: ObjectStore, bert: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(local_store, **{"model": bert} | changes)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(local_store: ObjectStore, bert: Path, missing: str) -> None:
    (bert / missing).unlink()
    with pytest.raises(RecipeError, match=r"^student\.model: .* cannot be loaded"):
        check(local_store, bert)


def test_a_folder_without_weights_is_refused_unless_they_are_drawn(local_store: ObjectStore, bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    with pytest.raises(RecipeError, match=r"^student\.model: .* has no model\.safetensors, .* or write init: random"):
        check(local_store, bert)
    check(local_store, bert, init="random")
    (bert / "model.safetensors.index.json").touch()
    check(local_store, bert)


def test_a_job_names_the_recipe_file_before_it_touches_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAID_KEY", raising=False)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: r\nstorage: {url: s3://none/x, endpoint: 'http://127.0.0.1:9'}\ncorpus: {source: {format: docstrings}}\n"
        "teachers: {paid: {provider: openai, model: m, dimensions: 4, api_key: env:PAID_KEY}}\n"
        "student: {model: /no/such/folder, heads: [4]}\n"
        "stages: [{name: s, heads: {4: {cosine: 1}}, lr: 0.1, steps: 1, batch_size: 2}]\n"
    )
    with pytest.raises(RecipeError, match=r"recipe\.yaml: teachers\.paid\.api_key: secret env:PAID_KEY is missing"):
        job.prepare(str(path), [])
    monkeypatch.setenv("PAID_KEY", "value")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: student\.model: .*does not exist"):
        job.prepare(str(path), [])
