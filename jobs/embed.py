"""Embed Parquet or JSON Lines files with a finished student: every row comes back, in its order, beside its vector.

    jobs/embed.py s3://bucket/runs/NAME --texts 's3://bucket/docs/*.parquet' --to s3://bucket/vectors --dimensions 256

Run again after any interruption, or when files were added or changed: only what is missing is embedded.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mtd_ray import job
from mtd_ray.embed.forms import DTYPES
from mtd_ray.embed.options import COMPUTE_DTYPES, EmbedOptions
from mtd_ray.encoder.backends import BACKENDS
from mtd_ray.encoder.prompts import INPUT_TYPES
from mtd_ray.remote import Call, hosts, warn_of_scarce_nodes

_LOG = logging.getLogger("mtd_ray")
_NAME = "the student"
_CPU_PIECE_ROWS, _GPU_PIECE_ROWS = 4_096, 16_384


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_args(arguments)
    texts, to = _absolute(given.texts), _absolute(given.to)
    job.connect()
    _warn_of_folders([given.student, texts, to])
    from mtd_ray.embed import embed_files

    print(embed_files(given.student, texts, to, _sized(_options(given), given)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", help="exported folder, or the s3:// URL of a run")
    parser.add_argument(
        "--texts", required=True, metavar="FILES", help="a file, a folder or a pattern (quote it), here or at s3://"
    )
    parser.add_argument("--to", required=True, metavar="URL", help="s3://bucket/prefix or a folder; one .parquet per input file")
    vectors = parser.add_argument_group("vectors")
    vectors.add_argument("--dimensions", type=_count, metavar="N", help="one of the student's sizes; its default size if left out")
    vectors.add_argument("--dtype", choices=DTYPES, default="float32", help="of the stored numbers (default float32)")
    vectors.add_argument("--normalize", action="store_true", help="scale every vector to length 1")
    vectors.add_argument(
        "--input-type", choices=INPUT_TYPES, default="document", help="picks the student's prompt (default document)"
    )
    vectors.add_argument("--prompt-name", metavar="NAME", help="this prompt of the student instead; '' for none")
    columns = parser.add_argument_group("columns")
    columns.add_argument("--text-column", default="text", metavar="NAME", help="default text")
    columns.add_argument("--vector-column", default="vector", metavar="NAME", help="default vector")
    columns.add_argument("--columns", metavar="A,B", help="columns that come back; by default all but the text")
    work = parser.add_argument_group("workers")
    work.add_argument(
        "--workers", type=_count, metavar="N", help="default: one per GPU of the cluster or, without any, one per machine"
    )
    work.add_argument("--cpus", type=_share, help="each worker's (default 1 beside a GPU, else what is free there)")
    work.add_argument("--gpus", type=_share, help="each worker's (default 1 where the cluster has GPUs, else 0)")
    work.add_argument("--compute-dtype", choices=COMPUTE_DTYPES, default="float32", help="of the forward pass (default float32)")
    work.add_argument("--backend", choices=BACKENDS, default="torch", help="openvino-int8: faster on CPUs, vectors slightly off")
    work.add_argument("--batch-tokens", type=_count, metavar="N", help="padded tokens of a forward pass; default: what is fastest")
    work.add_argument("--piece-rows", type=_count, metavar="N", help="about how many rows a dead worker loses")
    return parser


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of 1 or more")
    return int(word)


def _share(word: str) -> float:
    if not (value := float(word)) >= 0 or value == float("inf"):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of 0 or more")
    return value


def _options(given: argparse.Namespace) -> EmbedOptions:
    return EmbedOptions(
        size=given.dimensions,
        input_type=given.input_type,
        prompt_name=given.prompt_name,
        dtype=given.dtype,
        normalize=given.normalize,
        text_column=given.text_column,
        vector_column=given.vector_column,
        columns=None if given.columns is None else tuple(name for name in given.columns.split(",") if name),
        compute_dtype=given.compute_dtype,
        backend=given.backend,
        batch_tokens=given.batch_tokens,
    )


def _sized(options: EmbedOptions, given: argparse.Namespace) -> EmbedOptions:
    """With as many workers as the connected cluster has room for now, unless told: one per GPU or, without any, one per machine."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    present = sum(machine.get("GPU", 0) for machine in machines)
    gpus = given.gpus if given.gpus is not None else float(present >= 1 and given.backend == "torch")
    workers = max(1, int(given.workers or (present // gpus if gpus else len(machines))))
    # What others hold now, they may hold for long: a service beside this job.
    free = min([machine["CPU"] for machine in machines] + [ray.available_resources().get("CPU", 1) // workers], default=1)
    cpus = given.cpus or (1.0 if gpus else max(1.0, free))
    rows = given.piece_rows or (_GPU_PIECE_ROWS if gpus else _CPU_PIECE_ROWS)
    warn_of_scarce_nodes([Call(_NAME, _NAME, cpus, gpus)])
    return replace(options, workers=workers, cpus=cpus, gpus=gpus, piece_rows=rows)


def _absolute(place: str) -> str:
    return place if place.startswith("s3://") else str(Path(place).expanduser().absolute())


def _warn_of_folders(places: Sequence[str]) -> None:
    """Log what only one machine may have, where the cluster has several."""
    folders = [place for place in places if not place.startswith("s3://")]
    if folders and (count := hosts()) > 1:
        _LOG.warning(
            "the cluster has %d machines, and these are folders: %s. Unless all machines share them, use s3:// URLs",
            count,
            ", ".join(folders),
        )


if __name__ == "__main__":
    job.run(main)
