"""An export arrives whole, in storage or on a hub, and what it says of itself holds there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from huggingface_hub import CommitInfo, HfApi

from mtd_ray.config import StorageConfig
from mtd_ray.errors import MtdError
from mtd_ray.export.destination import Hub, destination

STORAGE = StorageConfig(url="/store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "student" / "2_Dense_8").mkdir(parents=True)
    (tmp_path / "student" / "modules.json").write_text("[]")
    (tmp_path / "student" / "2_Dense_8" / "config.json").write_text("{}")
    (tmp_path / "student" / "README.md").write_text("a card")
    return tmp_path / "student"


def hub(**behaviour: Any) -> Any:
    """The real client's signatures; nothing is sent."""
    api = create_autospec(HfApi, instance=True)
    api.upload_folder.return_value = create_autospec(CommitInfo, instance=True, commit_url="https://hub/me/mine/commit/1")
    api.configure_mock(**behaviour)
    return api


def test_a_folder_in_storage_has_a_manifest(folder: Path, tmp_path: Path) -> None:
    to = destination(f"{tmp_path}/models/mine", STORAGE)
    assert to.send(folder) == f"{tmp_path}/models/mine"
    assert to.address is None  # of this machine
    assert json.loads((tmp_path / "models" / "mine" / "manifest.json").read_text())["files"].keys() == {
        "modules.json", "2_Dense_8/config.json",
    }  # fmt: skip
    assert (tmp_path / "models" / "mine" / "README.md").read_text() == "a card"


def test_an_earlier_export_goes_and_anything_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    to, place = destination(f"{tmp_path}/mine", STORAGE), tmp_path / "mine"
    to.send(folder)
    (place / "model.safetensors").touch()
    to.send(folder)
    assert not (place / "model.safetensors").exists()
    (place / "manifest.json").unlink()
    to.send(folder)  # as after an interruption
    (place / "manifest.json").unlink()
    (place / "thesis.tex").touch()
    with pytest.raises(MtdError, match=r"mine is no published model and holds other files, .* such as mine/thesis\.tex"):
        to.send(folder)
    assert (place / "thesis.tex").exists()


def test_a_hub_gets_one_commit_and_loses_earlier_sizes(folder: Path) -> None:
    api = hub()
    assert Hub("me/mine", api).send(folder) == "https://hub/me/mine/commit/1"
    api.create_repo.assert_called_once_with(repo_id="me/mine", private=True, exist_ok=True)
    api.upload_folder.assert_called_once()
    sent = api.upload_folder.call_args.kwargs
    assert (sent["repo_id"], sent["folder_path"]) == ("me/mine", folder)
    assert {"2_Dense_*", "*.safetensors", "onnx/*"} <= set(sent["delete_patterns"])


def test_a_hub_that_refuses_is_told_in_one_line(folder: Path) -> None:
    api = hub(**{"create_repo.side_effect": OSError("401 Unauthorized\nlong story")})
    with pytest.raises(MtdError, match=r"hub:me/mine did not take the folder: 401 Unauthorized; check .* HF_TOKEN"):
        Hub("me/mine", api).send(folder)


def test_a_hub_that_nobody_reaches_is_told_with_what_to_do(folder: Path) -> None:
    api = HfApi(endpoint="http://127.0.0.1:1", token="none")  # refuses every connection
    with pytest.raises(MtdError, match=r"hub:me/mine did not take the folder: .*HF_TOKEN.*HF_ENDPOINT"):
        Hub("me/mine", api).send(folder)


def test_a_name_that_the_client_refuses_is_told(folder: Path) -> None:
    with pytest.raises(MtdError, match=r"hub:me/a--b did not take the folder: .*check the repository's name"):
        Hub("me/a--b", HfApi(endpoint="http://127.0.0.1:1", token="none")).send(folder)


@pytest.mark.parametrize("to", ["hub:mine", "hub:a/b/c", "s3://bucket", "models/mine", "/", "http://x/y"])
def test_other_places_are_refused(to: str) -> None:
    with pytest.raises(MtdError, match=r"--to"):
        destination(to, STORAGE)


def test_storage_is_reached_as_the_recipe_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    to: Any = destination("s3://bucket/a/b", StorageConfig(url="s3://x", endpoint="http://127.0.0.1:1", region="eu-central-1"))
    assert to.address is None
    assert (to._store.url, to._store.endpoint, to._store.region) == ("s3://bucket/a", "http://127.0.0.1:1", "eu-central-1")
