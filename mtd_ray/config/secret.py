"""Secrets as references: ``env:NAME``, ``file:/path`` or ``aws-sm:ARN#KEY``.

A recipe, a log, a receipt or an exception only ever holds the reference. The value is resolved inside the process that needs it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from mtd_ray.errors import RecipeError

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+|aws-sm:[^#]+(#.+)?")


def _is_reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise ValueError("a secret is given by reference, never by value: env:NAME, file:/path or aws-sm:ARN#KEY")
    return value


SecretRef = Annotated[str, AfterValidator(_is_reference)]


def resolve_secret(reference: str) -> str:
    """The secret a reference points at.

    Raises:
        RecipeError: nothing is there, or it cannot be read; neither the message nor a cause of the error holds a value.
    """
    scheme, _, where = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(where, "")
        hint = f"set the environment variable {where} on every node that needs it"
    elif scheme == "file":
        value = _from_file(Path(where)).strip()
        hint = f"write the key to {where} on every node that needs it"
    else:
        value, hint = _from_secrets_manager(where), "check the secret's ARN and key, and this node's IAM role"
    if not value:
        raise RecipeError(f"secret {reference} is missing or empty: {hint}")
    return value


# What decoding raises holds the value, so each function raises its own error outside of the ``except`` block, free of causes.


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        fault = "is not UTF-8 text"
    raise RecipeError(f"secret file:{path} {fault}")


def _from_secrets_manager(where: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    arn, _, key = where.partition("#")
    try:
        text = boto3.client("secretsmanager").get_secret_value(SecretId=arn).get("SecretString")
    except (BotoCoreError, ClientError) as error:
        raise RecipeError(f"secret aws-sm:{where} cannot be read: {type(error).__name__}") from None
    if not isinstance(text, str):
        raise RecipeError(f"secret aws-sm:{where} is binary; store the key as text")
    return _entry(text, key, where) if key else text


def _entry(text: str, key: str, where: str) -> str:
    try:
        held = json.loads(text)
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise RecipeError(f"secret aws-sm:{where} is not a JSON mapping, so it has no key {key!r}; store one, or leave out #{key}")
    value = held.get(key, "")
    if not isinstance(value, str):
        raise RecipeError(f"secret aws-sm:{where}: what stands under {key!r} is not text")
    return value
