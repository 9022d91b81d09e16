"""What is known about an output: what it was made of and with, which files are done, which pieces of the others.

```
<to>/<name>.parquet                               an input's rows with their vectors
<to>.embed/what.json                              the student, its size, prompt and dtype: one folder holds one kind of vectors
<to>.embed/done/<name>/<state>.json               exists when, and only when, that output is complete
<to>.embed/pieces/<state>/<cut>/<number>.json     a piece exists when, and only when, this object exists; put-if-absent
<to>.embed/pieces/<state>/<cut>/<number>.<attempt>.parquet
```

It lies beside the output, for readers that take a folder whole. ``<state>`` is the digest of the input file as it was, and of all
that decides its vectors and columns; ``<cut>`` the rows per piece.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mtd_ray.config import fingerprint
from mtd_ray.embed.inputs import Input
from mtd_ray.embed.options import EmbedOptions
from mtd_ray.embed.student import Student
from mtd_ray.errors import MtdError, StorageError
from mtd_ray.objects import ObjectStore

_WHAT = "what.json"
SHOWN_FAILURES = 5
_ABANDONED_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class Done:
    """A committed piece, or a whole file.

    Attributes:
        files, schema: keys of a piece's data, in order, and the schema of all of them, in base64; empty of a whole file.
        reasons: of the first rows without a vector, by their number.
    """

    input: str
    rows: int
    failed_rows: int
    tokens: int
    files: list[str] = field(default_factory=list)
    schema: str = ""
    reasons: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The stored form."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Done:
        """Read the stored form. StorageError naming ``where`` when it is damaged."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise StorageError(f"{where} is damaged ({error}): delete it and run again") from None


def described(student: Student, options: EmbedOptions) -> dict[str, Any]:
    """All that decides the vectors and columns of an output, but the input."""
    return {
        "student": student.content,
        "size": student.size,
        "prompt": student.prompt,
        "dtype": options.dtype,
        "normalize": options.normalize,
        "text_column": options.text_column,
        "vector_column": options.vector_column,
        "columns": None if options.columns is None else list(options.columns),
        "compute_dtype": options.compute_dtype,
        "backend": options.backend,
    }


def state_of(found: Input, what: Mapping[str, Any]) -> str:
    """Digest of what an input's output is made of."""
    return fingerprint([found.url, found.size, found.tag, dict(what)])[:24]


class Record:
    """The objects beside an output. Cheap to pickle.

    Args:
        to: the folder or ``s3://`` prefix of the output.
    """

    def __init__(self, to: str) -> None:
        # One segment below a bucket or the root, so that there is a place beside it.
        above, _, self._name = to.rstrip("/").rpartition("/")
        if not above or above == "s3:/" or not self._name:
            raise MtdError(f"{to}: give a folder below a bucket or disk, for the progress is recorded beside it in {to}.embed")
        self.store = ObjectStore(above)
        self.url = f"{self.store.url}/{self._name}"

    @property
    def _beside(self) -> str:
        return f"{self._name}.embed"

    def open(self, what: Mapping[str, Any]) -> None:
        """Begin or continue.

        Raises:
            MtdError: the folder holds other vectors, or things that nothing is known about.
        """
        key, data = f"{self._beside}/{_WHAT}", (json.dumps(dict(what), indent=1, sort_keys=True) + "\n").encode()
        if self.store.find(key) is None and next(self.store.list(self._name), None) is not None:
            raise MtdError(f"{self.url} is not empty, and there is no record of what it holds: embed into another place")
        if self.store.create(key, data):
            return
        there = self.store.get(key)
        if there != data:
            raise MtdError(
                f"{self.url} holds other vectors ({_difference(there, what)} differs): embed into another place, or delete "
                f"{self.url} and {self.url}.embed"
            )

    def holds(self, url: str) -> bool:
        """Whether a file lies in the output, or is part of what is known about it."""
        return url.startswith((f"{self.url}/", f"{self.url}.embed/"))

    def outputs(self) -> set[str]:
        """Names of the inputs whose outputs are there, complete or being replaced."""
        keys = (info.key.removeprefix(f"{self._name}/") for info in self.store.list(self._name))
        return {key.removesuffix(".parquet") for key in keys}

    def finished(self) -> set[tuple[str, str]]:
        """Name and state of every output that was completed."""
        prefix = f"{self._beside}/done"
        pairs = (info.key.removeprefix(f"{prefix}/").removesuffix(".json").rpartition("/") for info in self.store.list(prefix))
        return {(name, state) for name, _, state in pairs}

    def committed(self, state: str | None = None, cut: int | None = None) -> set[tuple[str, int, int]]:
        """State, cut and number of the committed pieces: of one file, or of all."""
        prefix = f"{self._beside}/pieces" + ("" if state is None else f"/{state}/{cut}")
        keys = (info.key.split("/")[-3:] for info in self.store.list(prefix) if info.key.endswith(".json"))
        return {(of, int(rows), int(name.removesuffix(".json"))) for of, rows, name in keys}

    def output_key(self, name: str) -> str:
        return f"{self._name}/{name}.parquet"

    def done_key(self, name: str, state: str) -> str:
        return f"{self._beside}/done/{name}/{state}.json"

    def piece_key(self, state: str, cut: int, number: int) -> str:
        return f"{self._beside}/pieces/{state}/{cut}/{number:05d}.json"

    def new_piece_file(self, state: str, cut: int, number: int) -> str:
        """A key that no other attempt at the piece uses."""
        return f"{self._beside}/pieces/{state}/{cut}/{number:05d}.{uuid.uuid4().hex}.parquet"

    def begin_replacing(self, name: str, state: str) -> None:
        """Forget that an output was complete, in whatever other state, before it is written anew."""
        for info in list(self.store.list(f"{self._beside}/done/{name}")):
            if info.key != self.done_key(name, state) and info.key.rpartition("/")[0] == f"{self._beside}/done/{name}":
                self.store.delete(info.key)

    def remove_pieces(self, state: str) -> None:
        """Of a file whose output is complete. The commits go last."""
        keys = [info.key for info in self.store.list(f"{self._beside}/pieces/{state}")]
        for key in sorted(keys, key=lambda key: key.endswith(".json")):
            self.store.delete(key)

    def sweep(self, states: Set[str]) -> None:
        """Remove what is left of files that are complete, and what nobody came back for within a week."""
        newest: dict[str, datetime] = {}
        for info in self.store.list(f"{self._beside}/pieces"):
            state = info.key.split("/")[-3]
            newest[state] = max(info.modified, newest.get(state, info.modified))
        for state, modified in newest.items():
            if state in states or datetime.now(UTC) - modified > _ABANDONED_AFTER:
                self.remove_pieces(state)

    def read(self, key: str) -> Done:
        """A commit of a piece or of a file."""
        return Done.from_json(self.store.get(key), f"{self.store.url}/{key}")


def merged(parts: list[Done], starts: list[int]) -> Done:
    """A file's pieces as one; ``starts`` are the rows at which they begin."""
    reasons: dict[str, str] = {}
    for part, start in zip(parts, starts, strict=True):
        reasons |= {str(int(row) + start): why for row, why in part.reasons.items()}
    return Done(
        parts[0].input,
        sum(part.rows for part in parts),
        sum(part.failed_rows for part in parts),
        sum(part.tokens for part in parts),
        reasons=dict(list(reasons.items())[:SHOWN_FAILURES]),
    )


def _difference(there: bytes, what: Mapping[str, Any]) -> str:
    try:
        known = json.loads(there)
        return ", ".join(sorted(key for key in known.keys() | what.keys() if known.get(key) != what.get(key))) or "the record"
    except (ValueError, AttributeError):
        return "the record"
