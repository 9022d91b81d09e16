"""A worker: reads a piece's rows, embeds them, puts them away and commits them; the last one of a file puts it together.

No Ray here.
"""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.embed.assembly import COMPRESSION, assemble
from mtd_ray.embed.columns import same_schema
from mtd_ray.embed.forms import stored_vectors, vector_array
from mtd_ray.embed.inputs import Input
from mtd_ray.embed.options import EmbedOptions
from mtd_ray.embed.pieces import Piece
from mtd_ray.embed.reading import read_piece
from mtd_ray.embed.record import SHOWN_FAILURES, Done, Record
from mtd_ray.embed.student import Student, open_encoder
from mtd_ray.encoder.threads import limit_threads
from mtd_ray.errors import MtdError
from mtd_ray.harvest.worker import Receipt

if TYPE_CHECKING:
    from mtd_ray.encoder import Encoder

_NO_TEXT, _NOT_FINITE = "there is no text", "the vector is not finite"


@dataclass(frozen=True)
class PieceReceipt(Receipt):
    """What became of one piece. ``planned``: the rows that it was thought to have."""

    planned: int = 0


class PieceWorker:
    """Embeds pieces, several at once in as many threads; its encoder stays open between them.

    Args:
        record: where the output is and what is known about it.
    """

    def __init__(self, record: Record, student: Student, options: EmbedOptions) -> None:
        self._record, self._student, self._options = record, student, options
        self._encoder: Encoder | None = None
        self._opening = threading.Lock()
        self._ended: PieceReceipt | None = None

    def embed(self, piece: Piece) -> PieceReceipt:
        """Do one piece. Errors meant for a person come back as receipts; no piece is begun after the first."""
        if self._ended is not None:
            return self._ended
        try:
            receipt = self._embed(piece)
            if self._is_whole(piece):
                assemble(self._record, piece, self._options.vector_column)
        except MtdError as error:
            found = Receipt.of_error(error)
            self._ended = PieceReceipt("skipped", error=found.error, message=found.message)
            return replace(self._ended, outcome="error")
        return receipt

    def _is_whole(self, piece: Piece) -> bool:
        """Whether all pieces of the file are committed. They are done roughly in order, so that the last one usually tells."""
        last = self._record.piece_key(piece.state, piece.cut, piece.of - 1)
        return self._record.store.exists(last) and len(self._record.committed(piece.state, piece.cut)) == piece.of

    def _embed(self, piece: Piece) -> PieceReceipt:
        key = self._record.piece_key(piece.state, piece.cut, piece.number)
        store = self._record.store
        if store.exists(key) or store.exists(self._record.done_key(piece.input.name, piece.state)):
            return PieceReceipt("present", piece.rows, planned=piece.rows)
        done = self._rows(piece)
        if not store.create(key, done.to_json()):
            return PieceReceipt("present", done.rows, planned=piece.rows)
        return PieceReceipt("committed", done.rows, done.failed_rows, done.tokens, planned=piece.rows)

    def _rows(self, piece: Piece) -> Done:
        """Embed a piece and put it away, a file per batch."""
        schema: pa.Schema | None = None
        files: list[str] = []
        reasons: dict[int, str] = {}
        rows = tokens = failed = 0
        for texts, columns in read_piece(piece, self._options):
            vectors, failures, read = self._vectors(texts)
            table = pa.table(
                {**dict(zip(columns.column_names, columns.columns, strict=True)), self._options.vector_column: vectors}
            )
            schema = same_schema(schema, table.schema)
            failed += len(failures)
            reasons |= {row + rows: failures[row] for row in sorted(failures)[: SHOWN_FAILURES - len(reasons)]}
            files.append(self._put(piece, table))
            rows, tokens = rows + len(texts), tokens + read
        assert schema is not None  # noqa: S101 (a piece without rows is one empty batch)
        shown = {str(row): why for row, why in reasons.items()}
        return Done(piece.input.url, rows, failed, tokens, files, base64.b64encode(schema.serialize()).decode(), shown)

    def _vectors(self, texts: list[str | None]) -> tuple[pa.Array, dict[int, str], int]:
        """A batch's vectors, null where there is none; by row, why; and the tokens that were read."""
        there = [row for row, text in enumerate(texts) if text is not None]
        found = self._open().embed([text for text in texts if text is not None], prompt=self._student.prompt)
        stored, bad = stored_vectors(found.vectors[:, : self._student.size], self._options.dtype, normalize=self._options.normalize)
        failures = dict.fromkeys((row for row, text in enumerate(texts) if text is None), _NO_TEXT)
        failures |= {there[row]: _NOT_FINITE for row in np.flatnonzero(bad)}
        missing = np.zeros(len(texts), bool)
        missing[list(failures)] = True
        whole = np.zeros((len(texts), self._student.size), stored.dtype)
        whole[there] = stored
        return vector_array(whole, missing, self._options.dtype), failures, found.tokens

    def _put(self, piece: Piece, table: pa.Table) -> str:
        sink = io.BytesIO()
        pq.write_table(table, sink, use_dictionary=False, **COMPRESSION)
        key = self._record.new_piece_file(piece.state, piece.cut, piece.number)
        self._record.store.put(key, sink.getvalue())
        return key

    def _open(self) -> Encoder:
        with self._opening:
            if self._encoder is None:
                limit_threads(self._options.cpus)
                self._encoder = open_encoder(self._student, self._options)
            return self._encoder


def start_worker(record: Record, student: Student, options: EmbedOptions) -> Callable[[dict[str, Any]], PieceReceipt]:
    """What does the pieces of an actor, each given as a JSON object."""
    worker = PieceWorker(record, student, options)
    return lambda fields: worker.embed(Piece(**fields | {"input": Input(**fields["input"])}))
