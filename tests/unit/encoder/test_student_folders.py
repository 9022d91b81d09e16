"""A folder in the published layout, written by anybody, gives the vectors that plain sentence-transformers gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn

from mtd_ray.encoder import Encoder, StudentEncoder
from mtd_ray.encoder.files import content_of, local_copy
from mtd_ray.errors import MtdError
from tests.tiny_models import sentences, tiny_bert
from tests.tiny_published import DEFAULT, PROMPTS, SIZES, at_size, tiny_published

TEXTS = [*sentences(9), "array " * 100, "the"]


@pytest.fixture(scope="module", params=["identity", "tanh", "normalized"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("published")
    activation = nn.Tanh() if request.param == "tanh" else None
    return tiny_published(scratch / "model", scratch / "bert", activation=activation, normalized=request.param == "normalized")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_published(tmp_path / "model", tmp_path / "bert")


@pytest.mark.parametrize("prompt", ["", *PROMPTS.values()])
def test_every_head_with_and_without_prompts(published: Path, tmp_path: Path, prompt: str) -> None:
    student = StudentEncoder.load(published, device="cpu")
    assert (student.heads, student.default_head, student.prompts) == (SIZES, DEFAULT, PROMPTS)
    vectors = student.encode(TEXTS, heads=SIZES, prompt=prompt)
    for size in SIZES:
        edited = at_size(Path(shutil.copytree(published, tmp_path / str(size))), size)
        plain = SentenceTransformer(str(edited), device="cpu").encode(TEXTS, prompt=prompt or None)
        np.testing.assert_allclose(vectors[size], plain, atol=1e-5)


def test_one_head_in_place_of_the_default(published: Path) -> None:
    expected = StudentEncoder.load(published, device="cpu").encode(TEXTS, heads=SIZES)
    for size in SIZES:
        encoder = Encoder.load(str(published), max_tokens=None, head=size, device="cpu")
        assert encoder.dimension == size
        np.testing.assert_allclose(encoder.encode(TEXTS), expected[size], atol=1e-6)


def test_a_head_that_is_not_there_leaves_the_default(folder: Path) -> None:
    assert Encoder.load(str(folder), max_tokens=None, head=99, device="cpu").dimension == DEFAULT


def test_tokens_uncut_and_cut(folder: Path) -> None:
    student = StudentEncoder.load(folder, device="cpu")
    assert student.count_tokens(["the array", "array " * 100]) == [4, 32]
    assert student.count_tokens(["the array", "array " * 100], cut=False) == [4, 102]
    assert student.count_tokens(["array " * 100]) == [32]


def test_shorter_limit(folder: Path) -> None:
    student = StudentEncoder.load(folder, max_tokens=8, device="cpu")
    assert student.max_tokens == 8
    np.testing.assert_array_equal(student.encode(["the " * 50])[DEFAULT], student.encode(["the " * 90])[DEFAULT])


def test_code_in_a_head_that_is_not_the_default_is_refused(folder: Path) -> None:
    path = folder / "2_Dense_40" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"activation_function": "os.getcwd"}))
    with pytest.raises(MtdError, match=r"2_Dense_40/config\.json names the activation 'os\.getcwd'"):
        StudentEncoder.load(folder)
    with pytest.raises(MtdError, match=r"os\.getcwd"):
        Encoder.load(str(folder), max_tokens=None, head=40)


def test_a_head_in_another_weight_format_is_refused(folder: Path) -> None:
    weights = folder / "2_Dense_12" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(MtdError, match=r"2_Dense_12/model\.safetensors is missing"):
        StudentEncoder.load(folder)


def test_a_damaged_head_is_named(folder: Path) -> None:
    weights = folder / "2_Dense_12" / "model.safetensors"
    tensors = {name: tensor[:5].clone() for name, tensor in load_file(weights).items()}
    save_file(tensors, weights)
    with pytest.raises(MtdError, match=r"head .*2_Dense_12 cannot be loaded"):
        StudentEncoder.load(folder)


def test_a_head_of_another_size_than_its_name_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "2_Dense_12")
    (folder / "2_Dense_40").rename(folder / "2_Dense_12")
    with pytest.raises(MtdError, match="2_Dense_12 gives vectors of 40 numbers"):
        StudentEncoder.load(folder)


def test_heads_that_modules_json_does_not_use_are_refused(folder: Path, tmp_path: Path) -> None:
    at_size(folder, 24)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    with pytest.raises(MtdError, match=r"no head in modules\.json"):
        StudentEncoder.load(folder)


def test_a_model_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise OSError("We couldn't connect to the hub.\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(MtdError, match=r"'some/model' is no folder .*couldn't connect to the hub\.; check the name"):
        StudentEncoder.load("some/model")


def test_hub_models_are_fetched_without_code_or_other_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def snapshot(name: str, **wanted: object) -> str:
        asked.update(wanted, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert StudentEncoder.load("some/model", revision="abc").heads == SIZES
    assert (asked["name"], asked["revision"]) == ("some/model", "abc")
    assert not [pattern for pattern in asked["allow_patterns"] if pattern.endswith((".py", ".bin", "*"))]  # type: ignore[union-attr]


def test_content_follows_weights_and_configs_and_nothing_else(folder: Path) -> None:
    before = content_of(local_copy(str(folder)))
    (folder / "README.md").write_text("scores")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    assert content_of(folder) == before
    at_size(folder, 40)
    assert {name for name in before if content_of(folder)[name] != before[name]} == {"modules.json"}


def test_a_plain_model_has_no_heads(tmp_path: Path) -> None:
    with pytest.raises(MtdError, match="no head folder 2_Dense_SIZE"):
        StudentEncoder.load(tiny_bert(tmp_path))
