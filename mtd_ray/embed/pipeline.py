"""The bulk embedding on a Ray cluster: what is missing, who does it, what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from random import SystemRandom

from mtd_ray.embed.inputs import Input, find_inputs
from mtd_ray.embed.options import EmbedOptions
from mtd_ray.embed.pieces import Piece, pieces_of
from mtd_ray.embed.record import SHOWN_FAILURES, Done, Record, described, state_of
from mtd_ray.embed.student import Student, find_student
from mtd_ray.embed.worker import PieceReceipt, start_worker
from mtd_ray.errors import CorpusError, MtdError
from mtd_ray.harvest.progress import Progress
from mtd_ray.numbers import plural

_log = logging.getLogger(__name__)

_READERS = 16
_TITLE = "embed"
_NAME = "vectors"


@dataclass(frozen=True)
class Embedded:
    """What is there after a bulk embedding. ``done`` are the outputs by their inputs' names; ``written`` of them by this call."""

    url: str
    size: int
    done: dict[str, Done]
    written: int
    tokens: int
    seconds: float

    @property
    def rows(self) -> int:
        return sum(done.rows for done in self.done.values())

    @property
    def failed_rows(self) -> int:
        return sum(done.failed_rows for done in self.done.values())

    def __str__(self) -> str:
        kept = len(self.done) - self.written
        there = f", {kept:,} there already" if kept else ""
        cost = f"{self.tokens:,} tokens in {self.seconds:,.0f} s"
        vectors = f"{self.rows - self.failed_rows:,} vectors of {self.size} numbers"
        lines = [f"{self.url}: {vectors} in {plural(len(self.done), 'file')}{there}; {cost}"]
        if self.failed_rows:
            reasons = (f"{done.input} row {row}: {why}" for done in self.done.values() for row, why in done.reasons.items())
            shown = [reason for reason, _ in zip(reasons, range(SHOWN_FAILURES), strict=False)]
            lines.append(f"{plural(self.failed_rows, 'row')} without a vector (null): {'; '.join(shown)}")
        return "\n".join(lines)


Receipts = Callable[[Sequence[Piece], Record, Student, EmbedOptions], Iterator[PieceReceipt]]


def embed_files(place: str, texts: str, to: str, options: EmbedOptions, *, do: Receipts | None = None) -> Embedded:
    """Give every row of the input files its vector: ``<to>/<name>.parquet`` has the rows of the input of that name, in its order.

    Files whose output is complete are not read again, unless they have changed; after an interruption at any
    point, calling again does what is left. Outputs of files that are not among the inputs stay.

    Args:
        place: the student: an exported folder, or the ``s3://`` URL of a run or of its student.
        texts: Parquet and JSON Lines files; see :func:`mtd_ray.embed.inputs.find_inputs`.
        to: an absolute folder or an ``s3://`` prefix.
        do: does the pieces; by default the connected Ray cluster.

    Raises:
        CorpusError: an input cannot be read or has no such column; before anything is embedded, where that can be known.
        MtdError: the student has no such size or prompt, or the output's place holds something else.
        StorageError: a store fails.
    """
    started = time.monotonic()
    student = find_student(place, options)
    record, what = Record(to), described(student, options)
    inputs = {found: state_of(found, what) for found in find_inputs(texts) if not record.holds(found.url)}
    record.open(what)
    missing = _missing(record, inputs)
    pieces = _pending(record, _pieces(missing, options))
    tokens = _embed(pieces, (do or receipts_on_ray)(pieces, record, student, options)) if pieces else 0
    done = _read(record, inputs)
    record.sweep(set(inputs.values()))
    return Embedded(record.url, student.size, done, len(missing), tokens, time.monotonic() - started)


def _missing(record: Record, inputs: dict[Input, str]) -> dict[Input, str]:
    """Inputs without a complete output in their present state."""
    finished, outputs = record.finished(), record.outputs()
    missing = {found: state for found, state in inputs.items() if (found.name, state) not in finished or found.name not in outputs}
    _refuse_second_names(record, missing, {pair for pair in finished if pair[0] in outputs})
    names = {found.name: found for found in missing}
    changed = 0
    for name, state in finished:
        if name not in names:
            continue
        other = record.read(record.done_key(name, state)).input
        if other != names[name].url:
            raise MtdError(
                f"{record.url}/{name}.parquet holds the vectors of {other}, not of {names[name].url}: embed into another place"
            )
        changed += 1
        if state == missing[names[name]]:  # complete, but somebody removed the output
            record.store.delete(record.done_key(name, state))
    if changed:
        _log.info("%s changed since it was embedded, or lost its output", plural(changed, "file"))
    return missing


def _refuse_second_names(record: Record, missing: dict[Input, str], finished: set[tuple[str, str]]) -> None:
    """Below another folder a file has another name, and its rows would be there twice."""
    states = dict(finished)
    for found in missing:
        for name in found.possible_names:
            if name == found.name or name not in states:
                continue
            if record.read(record.done_key(name, states[name])).input == found.url:
                raise MtdError(
                    f"{found.url} is in {record.url}/{name}.parquet already, and would be in {found.name}.parquet a second time: "
                    "give --texts as before, embed into another place, or delete that file"
                )


def _pieces(missing: dict[Input, str], options: EmbedOptions) -> list[list[Piece]]:
    """By file. Files in random order, so that two drivers at work on the same files rarely do the same."""
    with ThreadPoolExecutor(_READERS) as readers:
        files = list(readers.map(lambda found: pieces_of(found, missing[found], options), missing))
    long = [pieces[0].input.url for pieces in files if pieces[0].is_of_compressed_lines and pieces[0].rows > options.piece_rows]
    if long:
        _log.warning(
            "%s can only be read from the beginning, such as %s: each is one piece, which one worker does alone, and from the "
            "beginning after an interruption. Parquet or JSON Lines that are not compressed are divided",
            plural(len(long), "compressed file"),
            long[0],
        )
    return SystemRandom().sample(files, len(files))


def _pending(record: Record, files: Sequence[Sequence[Piece]]) -> list[Piece]:
    """Pieces that are not committed; of a file that has them all and was not put together, the last."""
    committed = record.committed() if files else set()
    pending: list[Piece] = []
    for pieces in files:
        left = [piece for piece in pieces if (piece.state, piece.cut, piece.number) not in committed]
        pending += left or pieces[-1:]
    return pending


def _embed(pieces: Sequence[Piece], receipts: Iterator[PieceReceipt]) -> int:
    """Count the receipts as they come; the tokens that were read. The first error ends everything."""
    tokens = 0
    with Progress({_NAME: sum(piece.rows for piece in pieces)}, title=_TITLE) as progress:
        for receipt in receipts:
            if receipt.error:
                receipt.raise_error()
            tokens += receipt.tokens
            progress.correct(_NAME, receipt.rows - receipt.planned)
            progress.add(_NAME, receipt)
            progress.tick()
    return tokens


def receipts_on_ray(pieces: Sequence[Piece], record: Record, student: Student, options: EmbedOptions) -> Iterator[PieceReceipt]:
    """Do the pieces on a pool of actors; a receipt as each is done. Leaving early ends the actors."""
    from mtd_ray.harvest.pool import Crew, quiet_ray_data, rows_of

    crew = Crew(1, options.workers, options.in_flight, options.cpus, options.gpus)
    rows = rows_of([asdict(piece) for piece in pieces], start_worker, (record, student, options), crew)
    with quiet_ray_data(), closing(rows):
        for row in rows:
            yield PieceReceipt(**row)


def _read(record: Record, inputs: dict[Input, str]) -> dict[str, Done]:
    def read(pair: tuple[Input, str]) -> tuple[str, Done]:
        found, state = pair
        key = record.done_key(found.name, state)
        if not record.store.exists(key):
            raise CorpusError(f"{found.url} was not put together: run the same command again")
        return found.name, record.read(key)

    with ThreadPoolExecutor(_READERS) as readers:
        return dict(readers.map(read, inputs.items()))
