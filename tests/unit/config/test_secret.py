"""Secrets are found where the reference says, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtd_ray.config import check_secrets, load_recipe, resolve_secret
from mtd_ray.errors import RecipeError


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "value")
    assert resolve_secret("env:SOME_KEY") == "value"


def test_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("value\n")
    assert resolve_secret(f"file:{tmp_path / 'key'}") == "value"


@pytest.mark.parametrize("reference", ["env:SURELY_NOT_SET", "file:/surely/not/there"])
def test_a_missing_secret_names_its_reference(reference: str) -> None:
    with pytest.raises(RecipeError, match=reference):
        resolve_secret(reference)


def test_a_key_file_that_cannot_be_read_is_refused_without_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"hidden\xff")
    with pytest.raises(RecipeError, match="is not UTF-8 text") as caught:
        resolve_secret(f"file:{tmp_path / 'key'}")
    assert caught.value.__context__ is None

    def forbid(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbid)
    with pytest.raises(RecipeError, match="cannot be read: Permission denied"):
        resolve_secret(f"file:{tmp_path / 'key'}")


class SecretsManager:
    """Answers every request with one secret."""

    def __init__(self, answer: dict[str, object]) -> None:
        self._answer = answer

    def get_secret_value(self, SecretId: str) -> dict[str, object]:  # noqa: N803 (the provider's spelling)
        assert SecretId == "arn:x"
        return self._answer


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("aws-sm:arn:x", {"SecretString": "value"}, "value"),
        ("aws-sm:arn:x#key", {"SecretString": '{"key": "value"}'}, "value"),
        ("aws-sm:arn:x", {"SecretBinary": b"hidden"}, "is binary"),
        ("aws-sm:arn:x#key", {"SecretString": "hidden"}, "not a JSON mapping"),
        ("aws-sm:arn:x#key", {"SecretString": '["hidden"]'}, "not a JSON mapping"),
        ("aws-sm:arn:x#key", {"SecretString": '{"key": ["hidden"]}'}, "is not text"),
        ("aws-sm:arn:x#key", {"SecretString": '{"other": "hidden"}'}, "missing or empty"),
    ],
)
def test_from_secrets_manager(monkeypatch: pytest.MonkeyPatch, reference: str, answer: dict[str, object], expected: str) -> None:
    monkeypatch.setattr("boto3.client", lambda service: SecretsManager(answer))
    if expected == "value":
        assert resolve_secret(reference) == "value"
        return
    with pytest.raises(RecipeError, match=expected) as caught:
        resolve_secret(reference)
    assert reference in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_missing_secret_is_found_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAID_KEY", raising=False)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: r\nstorage: s3://b\ncorpus: {source: {format: docstrings}}\n"
        "teachers: {paid: {provider: openai, model: m, dimensions: 4, api_key: env:PAID_KEY}}\n"
        "student: {model: m, heads: [4]}\n"
        "stages: [{name: s, heads: {4: {cosine: 1}}, lr: 0.1, steps: 1, batch_size: 2}]\n"
    )
    with pytest.raises(RecipeError, match=r"teachers\.paid\.api_key: secret env:PAID_KEY is missing"):
        check_secrets(load_recipe(path))
