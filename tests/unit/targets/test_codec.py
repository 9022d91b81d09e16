from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch  # noqa: F401 (the codec uses it where it is loaded)

from mtd_ray.errors import TargetError
from mtd_ray.targets import decode_vectors, encode_vectors


@pytest.mark.parametrize("seed", range(20))
def test_random_parts_come_back_as_they_went_in(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, dim = int(rng.integers(1, 60)), int(rng.integers(1, 300))
    vectors = (rng.standard_normal((rows, dim)) * 10.0 ** rng.integers(-2, 4)).astype(np.float32)
    failed = {int(row): f"reason {row}" for row in rng.choice(rows, rows // 3, replace=False)}
    ids = [f"{rng.integers(1 << 60):x}é" for _ in range(rows)]

    part = decode_vectors(encode_vectors(vectors, ids, failed))

    assert part.ids == ids
    assert part.reasons == [failed.get(row) for row in range(rows)]
    assert list(np.flatnonzero(~part.valid)) == sorted(failed)
    assert part.vectors.dtype == np.float16
    np.testing.assert_array_equal(part.vectors[part.valid], vectors.astype(np.float16)[part.valid])
    assert not part.vectors[~part.valid].any()


def test_equal_parts_are_equal_bytes(vectors: npt.NDArray[np.float32], ids: list[str]) -> None:
    assert encode_vectors(vectors, ids, {3: "x"}) == encode_vectors(vectors.copy(), list(ids), {3: "x"})


def test_a_view_with_strides_is_stored_by_value(vectors: npt.NDArray[np.float32], ids: list[str]) -> None:
    view = np.repeat(vectors, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(decode_vectors(encode_vectors(view, ids, {})).vectors, vectors.astype(np.float16))


def test_vectors_are_read_without_a_copy_and_cannot_be_changed(vectors: npt.NDArray[np.float32], ids: list[str]) -> None:
    decoded = decode_vectors(encode_vectors(vectors, ids, {})).vectors
    assert not decoded.flags.owndata
    assert not decoded.flags.writeable


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN or infinity"),
        (np.inf, "NaN or infinity"),
        (-np.inf, "NaN or infinity"),
        (7e4, "beyond"),
        (-7e4, "beyond"),
    ],
)
def test_a_value_that_fp16_cannot_hold_is_refused_with_its_row(
    vectors: npt.NDArray[np.float32], ids: list[str], value: float, message: str
) -> None:
    vectors[7, 3] = value
    with pytest.raises(TargetError, match=rf"id0007.*{message}"):
        encode_vectors(vectors, ids, {})


@pytest.mark.parametrize("value", [0.0, 1e-12])
def test_a_vector_without_direction_is_refused(vectors: npt.NDArray[np.float32], ids: list[str], value: float) -> None:
    vectors[9] = value
    with pytest.raises(TargetError, match=r"id0009.*zero"):
        encode_vectors(vectors, ids, {})


def test_a_failed_row_may_hold_anything(vectors: npt.NDArray[np.float32], ids: list[str]) -> None:
    vectors[4], vectors[5] = np.nan, 0
    part = decode_vectors(encode_vectors(vectors, ids, {4: "too long", 5: "refused"}))
    assert not part.vectors[4:6].any()
    assert part.reasons[4:6] == ["too long", "refused"]


@pytest.mark.parametrize("failures", [{25: "x"}, {-1: "x"}])
def test_a_failure_outside_the_part_is_refused(vectors: npt.NDArray[np.float32], ids: list[str], failures: dict[int, str]) -> None:
    with pytest.raises(TargetError, match="part of 25 rows"):
        encode_vectors(vectors, ids, failures)


def test_sizes_must_match(vectors: npt.NDArray[np.float32], ids: list[str]) -> None:
    with pytest.raises(TargetError, match="24 ids"):
        encode_vectors(vectors, ids[:-1], {})
    with pytest.raises(TargetError, match="shape"):
        encode_vectors(vectors[0], ids, {})


def test_pytorch_changes_the_speed_and_not_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # All magnitudes that fp16 has, below (to zero) and at its end, and the numbers halfway between two of them.
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    halfway = (every[:-1] + every[1:]) / 2
    others = rng.standard_normal(1001) * 10.0 ** rng.integers(-9, 4, 1001)
    numbers = np.concatenate([every, -every, halfway, others]).astype(np.float32)
    vectors = numbers[: len(numbers) // 100 * 100].reshape(100, -1)
    ids = [str(row) for row in range(100)]
    with_torch = encode_vectors(vectors, ids, {0: "x"})
    monkeypatch.delitem(sys.modules, "torch")
    assert encode_vectors(vectors, ids, {0: "x"}) == with_torch


@pytest.mark.parametrize("options", [{}, {"row_group_size": 4}, {"compression": "zstd"}])
def test_a_target_file_that_another_writer_wrote_again_is_read(
    vectors: npt.NDArray[np.float32], ids: list[str], options: dict[str, Any]
) -> None:
    table = pq.read_table(pa.BufferReader(encode_vectors(vectors, ids, {2: "x"})))
    part = decode_vectors(_parquet(table, **options))
    assert (part.ids, part.reasons[2]) == (ids, "x")
    np.testing.assert_array_equal(part.vectors[part.valid], vectors.astype(np.float16)[part.valid])


def test_a_part_of_no_rows() -> None:
    part = decode_vectors(encode_vectors(np.empty((0, 3), np.float32), [], {}))
    assert (part.ids, part.vectors.shape, part.valid.shape) == ([], (0, 3), (0,))


def _parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue())


def test_what_is_not_a_target_file_is_refused(vectors: npt.NDArray[np.float32], ids: list[str]) -> None:
    data = encode_vectors(vectors, ids, {})
    other_columns = _parquet(pa.table({"id": ["a"]}))
    other_size = _parquet(pq.read_table(pa.BufferReader(data)).replace_schema_metadata({"dim": "13", "dtype": "float16"}))
    for damaged in (b"", data[:-20], b"not parquet", other_columns, other_size):
        with pytest.raises(TargetError, match="not a readable target file"):
            decode_vectors(damaged)
