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
        RecipeError: nothing is there; the message names the reference, never a value.
    """
    scheme, _, where = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(where, "")
        hint = f"set the environment variable {where} on every node that runs this teacher"
    elif scheme == "file":
        path = Path(where)
        value = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        hint = f"write the key to {where} on every node that runs this teacher"
    else:
        value, hint = _from_secrets_manager(where), "check the secret's ARN and key, and this node's IAM role"
    if not value:
        raise RecipeError(f"secret {reference} is missing or empty: {hint}")
    return value


def _from_secrets_manager(where: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    arn, _, key = where.partition("#")
    try:
        text = boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    except (BotoCoreError, ClientError) as error:
        raise RecipeError(f"secret aws-sm:{where} cannot be read: {type(error).__name__}") from None
    return str(json.loads(text).get(key, "")) if key else str(text)
