"""Opening a store's URL: which client, which credentials, how patient."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from mtd_ray.errors import StorageError

_REGION = "us-east-1"

NO_ANSWER = "error sending request"
"""What obstore's message holds when a request got no answer."""

# An endpoint that never answered is a mistake and is reported in seconds; one that has answered before gets a minute to come back.
_PATIENT: Any = {
    "retry_config": {"max_retries": 20, "retry_timeout": timedelta(seconds=60)},
    "client_options": {"timeout": timedelta(seconds=120), "connect_timeout": timedelta(seconds=5), "allow_http": True},
}
_HASTY: Any = {
    "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=5)},
    "client_options": {"timeout": timedelta(seconds=4), "connect_timeout": timedelta(seconds=3), "allow_http": True},
}


def open_client(url: str, endpoint: str | None, region: str | None) -> tuple[Any, Any]:
    """The obstore client of a URL, and one that gives up soon, for :func:`reach`; None in its place for a local folder.

    Raises:
        StorageError: the URL or endpoint is malformed, the folder cannot be made, or there are no credentials. Nothing is sent.
    """
    scheme = urlparse(url).scheme
    if scheme == "s3":
        return _open_s3(url, endpoint, region)
    path = local_folder(url)
    if path is not None:
        if not path.is_absolute():
            raise StorageError(f"storage folder {url!r} is not absolute: workers run in other directories, give the full path")
        try:
            return LocalStore(prefix=str(path), mkdir=True), None
        except (BaseError, OSError) as error:
            raise StorageError(f"storage folder {path} cannot be made: {error}") from None
    raise StorageError(f"storage {url!r}: unknown scheme {scheme!r}; use s3://bucket/prefix or an absolute folder")


def local_folder(url: str) -> Path | None:
    """The folder that a URL names; None when it names something else. A key is the path of its file below the folder."""
    return Path(url.removeprefix("file://")) if urlparse(url).scheme in ("", "file") else None


def _open_s3(url: str, endpoint: str | None, region: str | None) -> tuple[Any, Any]:
    from obstore.auth.boto3 import Boto3CredentialProvider

    session, _ = _session(url)
    endpoint = endpoint or _environment_endpoint()
    options: dict[str, Any] = {"region": region or session.region_name or _REGION}
    if endpoint:
        _check_endpoint(endpoint)
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    options["credential_provider"] = Boto3CredentialProvider(session)
    try:
        return S3Store.from_url(url, **_PATIENT, **options), S3Store.from_url(url, **_HASTY, **options)
    except (BaseError, ValueError) as error:
        raise StorageError(f"storage {url!r} cannot be opened: {first_line(error)}") from None


def _session(url: str) -> tuple[Any, Any]:
    """A boto3 session, and the credentials its chain gives now."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session()
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise StorageError(f"AWS credentials for {url} cannot be loaded: {error}") from None
    if credentials is None:
        raise StorageError(
            f"no AWS credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or an IAM role"
        )
    return session, credentials


def table_options(url: str, endpoint: str | None, region: str | None) -> dict[str, str]:
    """A URL's endpoint, region and present credentials as options of a table library; they hold secrets. Empty for a local folder.

    Raises:
        StorageError: there are no credentials.
    """
    if local_folder(url) is not None:
        return {}
    session, credentials = _session(url)
    frozen = credentials.get_frozen_credentials()
    options = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token,
        "AWS_REGION": region or session.region_name or _REGION,
        "AWS_ENDPOINT_URL": endpoint or _environment_endpoint(),
        "AWS_ALLOW_HTTP": "true",
    }
    return {name: value for name, value in options.items() if value}


def _check_endpoint(endpoint: str) -> None:
    parts = urlparse(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StorageError(f"storage endpoint {endpoint!r} is not a URL: write it as https://host or http://host:port")


def reach(probe: Any, url: str, endpoint: str | None) -> None:
    """Raise StorageError, within about ten seconds, when nothing answers at the endpoint.

    Any answer will do, be it that there is no such object or that it may not be read.
    """
    try:
        obstore.head(probe, ".reachable")
    except (FileNotFoundError, NotFoundError):
        return
    except BaseError as error:
        if NO_ANSWER in str(error):
            at = endpoint or _environment_endpoint()
            where = f"{url} (endpoint {at})" if at else url
            raise StorageError(f"{where} cannot be reached: check the endpoint and the network") from None


def _environment_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def first_line(error: BaseException) -> str:
    """An error's first line: obstore appends its internal state after it."""
    return next(iter(str(error).splitlines()), type(error).__name__)
