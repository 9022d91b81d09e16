"""A model folder must not make this process run code it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mtd_ray.encoder import Encoder
from mtd_ray.encoder.trusted import check_modules
from mtd_ray.errors import MtdError

POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


def folder_with(tmp_path: Path, *modules: dict[str, Any]) -> str:
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    return str(tmp_path)


def dense(tmp_path: Path, activation: str) -> str:
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "config.json").write_text(json.dumps({"activation_function": activation}))
    (tmp_path / "2_Dense" / "model.safetensors").touch()
    return folder_with(tmp_path, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"})


@pytest.mark.parametrize(
    "name",
    [
        "sentence_transformers.models.Transformer",
        "sentence_transformers.base.modules.transformer.Transformer",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    ],
)
def test_known_modules_pass(tmp_path: Path, name: str) -> None:
    check_modules(folder_with(tmp_path, {"path": "", "type": name}), None)


@pytest.mark.parametrize(
    "name",
    ["os.system", "modeling_custom.Evil", "sentence_transformers.models.CLIPModel", "sentence_transformers.util.Transformer"],
)
def test_other_classes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MtdError, match=name):
        check_modules(folder_with(tmp_path, {"path": "", "type": name}), None)


@pytest.mark.parametrize("name", ["torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Tanh"])
def test_activations_of_torch_pass(tmp_path: Path, name: str) -> None:
    check_modules(dense(tmp_path, name), None)


@pytest.mark.parametrize("name", ["os.getcwd", "torch.hub.load", "torch.nn.modules.module.Module"])
def test_other_activations_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MtdError, match="activation"):
        check_modules(dense(tmp_path, name), None)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = dense(tmp_path, "torch.nn.modules.linear.Identity")
    (tmp_path / "2_Dense" / "model.safetensors").rename(tmp_path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(MtdError, match=r"2_Dense/model\.safetensors is missing"):
        check_modules(folder, None)


def test_loading_refuses_before_it_imports(tmp_path: Path, minilm: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder)
    (folder / "custom_code.py").write_text("raise SystemExit('the code of the folder ran')")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "custom_code.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(MtdError, match=r"custom_code\.Pooling.*trust_remote_code"):
        Encoder.load(str(folder), max_tokens=64)
