"""8-bit variants are the same model, slightly off, in the files where sentence-transformers looks for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mtd_ray.card.published import published_card
from mtd_ray.config import StudentConfig
from mtd_ray.errors import MtdError
from mtd_ray.export import export_student, variants
from mtd_ray.export.variants import FILES, NEEDS, Variant, add_variant
from mtd_ray.student import Student
from tests.tiny_models import tiny_bert


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = StudentConfig(model=tiny_bert(tmp_path_factory.mktemp("base")), max_tokens=40, heads=(16, 8))
    path = tmp_path_factory.mktemp("exported") / "student"
    export_student(Student.build(config, seed=5), path, card=None)
    return path


@pytest.mark.parametrize(("variant", "needs"), [("onnx", "onnxruntime"), ("openvino", "nncf")])
def test_a_variant_is_close_and_where_it_is_looked_for(folder: Path, variant: Variant, needs: str) -> None:
    pytest.importorskip(needs)
    assert add_variant(folder, variant) > 0.99
    file = folder / FILES[variant]
    written = {path.name for path in file.parent.iterdir()}
    assert written == {file.name} | ({file.with_suffix(".bin").name} if variant == "openvino" else set())


def test_a_variant_of_another_model_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(variants, "_LEAST_COSINE", 1.1)
    with pytest.raises(MtdError, match=r"onnx variant .* is not the same model .* BertModel, cannot be traced"):
        add_variant(folder, "onnx")


def test_a_student_that_no_onnx_file_holds_is_refused_before_it_is_traced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_MOST_BYTES", 1000)
    with pytest.raises(MtdError, match="use the openvino variant"):
        add_variant(folder, "onnx")


def test_the_documentation_names_the_same_packages() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "publishing.md").read_text()
    assert all(f"'{package}'" in page for package in NEEDS.values())


def test_a_missing_package_is_told_of_what_was_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MtdError, match=r"the openvino variant needs the package 'nncf': pip install 'mtd-ray\[int8\]'"):
        add_variant(folder, "openvino")


def test_the_card_tells_how_a_variant_is_loaded(folder: Path) -> None:
    (folder / FILES["onnx"]).parent.mkdir(exist_ok=True)
    (folder / FILES["onnx"]).touch()
    card = published_card('SentenceTransformer("FOLDER")\n', folder, "me/mine", "bfloat16")
    assert 'SentenceTransformer("me/mine")' in card
    assert 'SentenceTransformer("me/mine", backend="onnx", model_kwargs={"file_name": "onnx/model_qint8_avx512.onnx"})' in card
    assert "stored in float32; those that were measured are stored in bfloat16" in card
    assert f"pip install '{NEEDS['onnx']}'" in card
    assert "FOLDER" not in card
    assert 'SentenceTransformer("FOLDER", backend="onnx"' in published_card("", folder, None, "float32")
